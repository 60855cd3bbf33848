"""Errors as RFC 9457 problem documents, by one exhaustive table from stable code to status and title."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from twingateway.errors import InvalidDocument, InvalidValue, Problem, TwinGatewayError

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


def problem(status: int, title: str, detail: str, **extra: Any) -> JSONResponse:
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **extra}
    return JSONResponse(body, status, media_type=MEDIA_TYPE)


def answer(error: TwinGatewayError) -> JSONResponse:
    """The response for one of our errors."""
    status, title = ANSWER[error.code]
    extra = {"code": error.code, **error.detail}
    if isinstance(error, InvalidDocument) and error.problems:
        extra["problems"] = [_shown(each) for each in error.problems]
    if isinstance(error, InvalidValue):
        extra["problems"] = [_shown(error.problem)]
    return problem(status, title, error.message, **extra)


def install(app: FastAPI) -> None:
    """Let every error of the application answer with a problem document."""

    @app.exception_handler(TwinGatewayError)
    async def ours(request: Request, error: TwinGatewayError) -> JSONResponse:
        return answer(error)

    @app.exception_handler(RequestValidationError)
    async def parameters(request: Request, error: RequestValidationError) -> JSONResponse:
        problems = [
            {"path": ".".join(str(part) for part in each["loc"]), "message": each["msg"], "rule": each["type"]}
            for each in error.errors()
        ]
        detail = "; ".join(f"{each['path']}: {each['message']}" for each in problems)
        return problem(422, "A parameter is not valid", detail, code="invalid-parameter", problems=problems)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        response = problem(error.status_code, str(error.detail), f"{request.method} {request.url.path}")
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        return problem(500, ANSWER["internal"][1], "see the node's log")


def _shown(each: Problem) -> dict[str, Any]:
    return {"path": each.path, "message": each.message, "rule": each.rule}
