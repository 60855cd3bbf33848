"""The HTTP API seen from the command line: requests, and its problem documents turned back into errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twingateway.errors import (
    InvalidConfig,
    InvalidDocument,
    InvalidValue,
    LinkError,
    NotAuthorized,
    NotFound,
    Problem,
    TwinGatewayError,
    Unavailable,
    VersionMismatch,
    all_errors,
)

if TYPE_CHECKING:
    from httpx2 import Client, Response

DEFAULT_API = "http://127.0.0.1:8080"
#: Seconds to wait for an answer.
TIMEOUT = 10.0

ApiOption = Annotated[
    str, typer.Option("--api", metavar="URL", envvar="TWINGATEWAY_API", help="The node's API.", rich_help_panel="API")
]
TokenOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        envvar="TWINGATEWAY_TOKEN_FILE",
        help="File that holds the API's token.",
        rich_help_panel="API",
    ),
]
NamespaceOption = Annotated[
    str | None,
    typer.Option("--namespace", metavar="NAME", help="The tenant; by default the node's own.", rich_help_panel="API"),
]

#: How a token is given here.
_TOKEN = "name its file with --token-file, or in TWINGATEWAY_TOKEN_FILE"
#: What is needed beyond a message to make an error again from its problem document.
_SPECIAL: dict[str, Callable[[str, tuple[Problem, ...]], TwinGatewayError]] = {
    "invalid-value": lambda message, problems: InvalidValue(problems[0] if problems else Problem(message)),
    "invalid-parameter": InvalidDocument,
}
_BY_CODE = {error.code: error for error in all_errors()}
#: For answers without a code that we know.
_BY_STATUS: dict[int, type[TwinGatewayError]] = {
    400: InvalidDocument,
    401: NotAuthorized,
    403: NotAuthorized,
    404: NotFound,
    405: NotFound,
    412: VersionMismatch,
    422: InvalidDocument,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


@dataclass(frozen=True, slots=True)
class Api:
    """Where the API is and what it is to be told. `namespace` None: the node's own."""

    url: str
    token_file: Path | None = None
    namespace: str | None = None

    def get(self, path: str, **params: Any) -> Any:
        """The JSON answer. Raises TwinGatewayError, as all of these."""
        return self.send("GET", path, params=params).json()

    def pages(self, path: str, **params: Any) -> Iterator[dict[str, Any]]:
        """Every item of a paged list."""
        after: str | None = ""
        while after is not None:
            page = self.get(path, **params, after=after)
            if not isinstance(page, dict) or "items" not in page:
                raise self._not_ours("another document")
            yield from page["items"]
            after = page.get("nextAfter")  # None also in a list that never has a second page

    def send(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, Any] | None = None,
        body: Any = None,
        wait: float = 0.0,
        headers: dict[str, str] | None = None,
    ) -> Response:
        """One request. `wait`: seconds that the node may take beyond the usual."""
        with self.client() as client, self.translated():
            query = self.query(params or {})
            response = client.request(method, path, params=query, json=body, timeout=TIMEOUT + wait, headers=headers)
        if response.is_success:
            self._require_json(response)
            return response
        raise to_error(response)

    def query(self, params: dict[str, Any]) -> dict[str, Any]:
        stated = {"namespace": self.namespace, **params}
        return {name: value for name, value in stated.items() if value not in (None, "", [])}

    def client(self) -> Client:
        """Close it after use. This machine is never reached through a proxy."""
        from httpx2 import Client

        direct = dict.fromkeys(("all://127.0.0.1", "all://localhost", "all://[::1]"))
        return Client(base_url=self.url, headers=self._headers(), timeout=TIMEOUT, mounts=direct)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Failures to reach the API become our errors."""
        from httpx2 import HTTPError, InvalidURL, UnsupportedProtocol

        try:
            yield
        except (InvalidURL, UnicodeError) as error:
            raise InvalidConfig(f"{self.url!r} is not a URL: {error}") from error
        except UnsupportedProtocol as error:
            raise InvalidConfig(f"{self.url!r} is not a URL; write http://{DEFAULT_API[7:]}, for instance") from error
        except HTTPError as error:
            reason = str(error) or type(error).__name__
            hint = "is the node running, and does its file have an `api:` section?"
            raise Unavailable(f"no answer from {self.url}: {reason}; {hint}") from error

    def _headers(self) -> dict[str, str]:
        if self.token_file is None:
            return {}
        try:
            token = self.token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidConfig(f"the token file {self.token_file} cannot be read: {error}") from error
        if not (token and token.isascii() and token.isprintable()):  # nor is it to be shown in somebody else's error
            raise InvalidConfig(f"{self.token_file} holds no API token, which is one line of plain characters")
        return {"Authorization": f"Bearer {token}"}

    def _require_json(self, response: Response) -> None:
        kind = response.headers.get("content-type", "")
        if response.content and not kind.startswith("application/json"):
            raise self._not_ours(kind or "no content type")

    def _not_ours(self, answer: str) -> LinkError:
        return LinkError(f"{self.url} answers with {answer}: this is not the API of a node")


def to_error(response: Response) -> TwinGatewayError:
    """The error behind an answer (RFC 9457), by its code or else by its status."""
    try:
        body = response.json()
    except ValueError:
        body = None
    document: dict[str, Any] = body if isinstance(body, dict) else {}
    code = str(document.get("code", ""))
    problems = tuple(
        Problem(str(each.get("message", "")), str(each.get("path", "")), str(each.get("rule", "")))
        for each in document.get("problems", ())
        if isinstance(each, dict)
    )
    message = _message(response, document)
    if code == "no-token":
        sent = "authorization" in response.request.headers
        message = (
            f"{'this is not the API token of the node' if sent else 'the node asks for its API token'}: {_TOKEN}"
        )
    if code in _SPECIAL:
        return _SPECIAL[code](message, problems)
    error = _BY_CODE.get(code) or _BY_STATUS.get(response.status_code, TwinGatewayError)
    return error(message, problems) if issubclass(error, InvalidDocument) else error(message)


def _message(response: Response, document: dict[str, Any]) -> str:
    title, detail = document.get("title"), document.get("detail")
    if not title:
        return f"{response.url} answers {response.status_code} {response.reason_phrase}"
    if "code" in document and detail:
        return str(detail)
    return f"{title}: {detail}" if detail else str(title)
