"""Errors as RFC 9457 problem documents, by one exhaustive table from stable code to status and title."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from twingateway.errors import InvalidDocument, InvalidValue, Problem, TwinGatewayError, VersionMismatch

MEDIA_TYPE = "application/problem+json"

#: Error code → (HTTP status, title). Every code of the error tree is here.
ANSWER: dict[str, tuple[int, str]] = {
    "internal": (500, "Internal error"),
    "invalid-document": (422, "The document is not valid"),
    "invalid-config": (422, "The configuration is not valid"),
    "malformed-text": (400, "The body cannot be read"),
    "invalid-value": (422, "A value was refused"),
    "too-large": (413, "Too large"),
    "not-found": (404, "Not found"),
    "unknown-twin": (404, "No such twin"),
    "unknown-model": (404, "No such model"),
    "version-mismatch": (412, "The twin changed in the meantime"),
    "model-conflict": (409, "A model of this name and version has other content"),
    "not-root": (409, "This node is not the root"),
    "not-holder": (409, "Overrides are set at the node that holds the device"),
    "root-unreachable": (503, "The root cannot be reached"),
    "outcome-unknown": (504, "Whether the root took it is not known"),
    "read-only-path": (422, "This part of a twin cannot be written"),
    "device-error": (502, "The device reported an error"),
    "device-unreachable": (502, "The device cannot be reached"),
    "device-timeout": (504, "The device did not answer in time"),
    "device-reply-invalid": (502, "The device's reply is not valid"),
    "device-refused": (502, "The device refused"),
    "write-mismatch": (502, "The device reports another value"),
    "adapter-fault": (500, "An adapter failed"),
    "unknown-adapter": (404, "No such adapter"),
    "link-error": (503, "No link"),
    "not-authorized": (403, "Not allowed"),
    "protocol-violation": (400, "The protocol was broken"),
    "store-error": (500, "The store failed"),
    "store-full": (507, "The store is full"),
    "store-corrupt": (500, "The store is damaged"),
    "certificate-error": (500, "A certificate cannot be used"),
    "broker-error": (503, "The local broker is not available"),
    "unavailable": (503, "Not available at present"),
}

#: What is said to clients in place of the error's own words, which are for who opens a store by hand.
_SAID = {
    "store-corrupt": "the node has found its store damaged; it sets the file aside by itself and begins with a fresh "
    "one, and its log says more: try again in a moment",
}


def problem(status: int, title: str, detail: str, **extra: Any) -> Response:
    """A problem document. `extra` members are kept unless they have the name of one of its own."""
    return _response({**extra, "type": "about:blank", "title": title, "status": status, "detail": detail})


def answer(error: TwinGatewayError) -> Response:
    """The response for one of our errors: its status and title by the table, its facts as further members."""
    status, title = ANSWER[error.code]
    found: Sequence[Problem] = ()
    if isinstance(error, InvalidDocument):
        found = error.problems
    elif isinstance(error, InvalidValue):
        found = (error.problem,)
    body: dict[str, Any] = {
        **error.detail,
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": _SAID.get(error.code, error.message),
        "code": error.code,
    }
    if found:
        body["problems"] = [_shown(each) for each in found]
    response = _response(body)
    if isinstance(error, VersionMismatch) and error.detail["current"] is not None:
        response.headers["ETag"] = f'"{error.detail["current"]}"'
    return response


def _response(body: dict[str, Any]) -> Response:
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False, default=str)
    except ValueError:  # a detail that is no JSON must not hide the problem
        text = json.dumps({name: str(value) for name, value in body.items()}, ensure_ascii=False)
    return Response(text.encode(errors="replace"), body["status"], media_type=MEDIA_TYPE)


def _shown(each: Problem) -> dict[str, Any]:
    return {"path": each.path, "message": each.message, "rule": each.rule}
