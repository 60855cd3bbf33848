"""An error of ours on its way to another node, as plain values, and back to what it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twingateway.errors import InvalidDocument, InvalidValue, Problem, ProtocolViolation, TwinGatewayError, all_errors

#: Characters of each text that are taken from a peer, and problems.
MAX_TEXT = 2000
MAX_PROBLEMS = 100

_BY_CODE: Mapping[str, type[TwinGatewayError]] = {error.code: error for error in all_errors()}
_PLAIN = (str, int, float, bool, type(None))


def encode_error(error: TwinGatewayError) -> dict[str, Any]:
    """Of its facts those that are plain."""
    problems: tuple[Problem, ...] = ()
    if isinstance(error, InvalidDocument):
        problems = error.problems
    elif isinstance(error, InvalidValue):
        problems = (error.problem,)
    return {
        "code": error.code,
        "message": error.message[:MAX_TEXT],
        "detail": {name: value for name, value in error.detail.items() if isinstance(value, _PLAIN)},
        "problems": [[each.message[:MAX_TEXT], each.path[:MAX_TEXT], each.rule] for each in problems[:MAX_PROBLEMS]],
    }


def decode_error(body: Any) -> TwinGatewayError:
    """What a peer says went wrong; a code that is not known here is `internal`. Raises ProtocolViolation."""
    try:
        kind = _BY_CODE.get(str(body["code"]), TwinGatewayError)
        message, known = str(body["message"])[:MAX_TEXT], body.get("detail", {})
        problems = [Problem(str(text), str(path), str(rule)) for text, path, rule in body.get("problems", ())]
        detail = {
            str(name): value for name, value in known.items() if isinstance(value, _PLAIN) and name != "message"
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProtocolViolation(f"an error that makes no sense: {error!r}") from error
    if issubclass(kind, InvalidDocument):
        return kind(message, problems, **detail)
    if issubclass(kind, InvalidValue):
        return kind(problems[0] if problems else Problem(message), **detail)
    if issubclass(kind, ProtocolViolation):
        return TwinGatewayError(message, **detail)
    return kind(message, **detail)
