"""Whatever goes wrong in the API's application, ours or the framework's, is answered with a problem document."""

from __future__ import annotations

from itertools import islice

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from twingateway.api.methods import allowed, options
from twingateway.api.problems import ANSWER, answer, problem
from twingateway.errors import TwinGatewayError, UnknownTwin
from twingateway.gateway.gateway import Gateway
from twingateway.twin.identity import DeviceId
from twingateway.validation.explain import meant

#: Twins among whose names one is looked for that may be meant: with more of them it would take too long.
MOST_NAMES = 1000


def install(app: FastAPI) -> None:
    """Let every error of `app` answer with a problem document."""

    @app.exception_handler(TwinGatewayError)
    async def ours(request: Request, error: TwinGatewayError) -> Response:
        return answer(_with_hint(request, error) if isinstance(error, UnknownTwin) else error)

    @app.exception_handler(RequestValidationError)
    async def parameters(request: Request, error: RequestValidationError) -> Response:
        problems = [
            {"path": ".".join(str(part) for part in each["loc"]), "message": each["msg"], "rule": each["type"]}
            for each in error.errors()
        ]
        detail = "; ".join(f"{each['path']}: {each['message']}" for each in problems)
        return problem(422, "A parameter is not valid", detail, code="invalid-parameter", problems=problems)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        path = request.url.path
        if error.status_code == 404:
            return problem(
                404, "Not found", f"there is nothing at {path}; /openapi.json says what there is", code="not-found"
            )
        if error.status_code != 405:
            return problem(error.status_code, str(error.detail), f"{request.method} {path}")
        allow = allowed(app.routes, request.scope)
        if request.method == "OPTIONS":
            return options(allow)
        response = problem(405, "Method not allowed", f"{path} takes {allow}, not {request.method}", code="no-method")
        response.headers["Allow"] = allow
        return response

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        return problem(500, ANSWER["internal"][1], "see the node's log", code="internal")


def _with_hint(request: Request, error: UnknownTwin) -> UnknownTwin:
    """It, with the name that may be meant."""
    gateway: Gateway = request.app.state.gateway
    namespace = request.query_params.get("namespace", gateway.namespace)
    wanted = DeviceId.parse(request.path_params["name"], namespace)
    live = (d for d in gateway.table.devices() if d.namespace == wanted.namespace and gateway.queries.exists(d))
    names = [device.name for device in islice(live, MOST_NAMES + 1)]
    hint = meant(wanted.name, names) if len(names) <= MOST_NAMES else ""
    return UnknownTwin(f"{error.message}{hint}", **error.detail)
