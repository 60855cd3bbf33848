"""`/models`: immutable by name and version."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse

from twingateway.api.body import read_json
from twingateway.api.describe import MODEL_BODY
from twingateway.api.params import ModelName, Namespace, TheGateway
from twingateway.errors import InvalidDocument, Problem
from twingateway.twin.model import Model, ModelRef

router = APIRouter(tags=["models"])


@router.get("/models", summary="List models")
async def list_models(gateway: TheGateway, namespace: Namespace) -> JSONResponse:
    """Every model that this node has, without their documents."""
    models = gateway.models.all(namespace)
    return JSONResponse(
        {
            "items": [
                {
                    "name": model.ref.name,
                    "version": model.ref.version,
                    "digest": model.digest,
                    "description": model.description,
                    "properties": len(model.properties),
                }
                for model in models
            ]
        }
    )


@router.get("/models/{name}/versions/{version}", summary="Read a model")
async def get_model(gateway: TheGateway, namespace: Namespace, name: ModelName, version: str) -> JSONResponse:
    """The DeviceModel document; its ETag is its digest."""
    return _shown(gateway.models.get(namespace, f"{name}@{version}"), 200)


@router.put(
    "/models/{name}/versions/{version}",
    summary="Store a model",
    responses={201: {"description": "It is new"}, 200: {"description": "This very content is here already"}},
    openapi_extra=MODEL_BODY,
)
async def put_model(
    gateway: TheGateway,
    namespace: Namespace,
    name: ModelName,
    version: str,
    if_match: Annotated[
        str | None, Header(description="The digest it must have here, or `*`: it must be here.")
    ] = None,
    *,
    request: Request,
) -> JSONResponse:
    """A model never changes: another content under the same name and version is refused with 409."""
    document = await read_json(request)
    metadata = document.get("metadata") if isinstance(document, dict) else None
    if isinstance(metadata, dict):
        stated = (metadata.get("name"), metadata.get("version"))
        if all(isinstance(part, str) for part in stated) and stated != (name, version):
            message = f"the document is {stated[0]}@{stated[1]}, the URL {ModelRef(name, version)}"
            raise InvalidDocument(message, [Problem(message, "metadata", "match")])
    model, created = await gateway.commands.put_model(
        namespace, document, None if if_match is None else if_match.strip().strip('"')
    )
    return _shown(model, 201 if created else 200)


def _shown(model: Model, status: int) -> JSONResponse:
    return JSONResponse(dict(model.document), status, headers={"ETag": f'"{model.digest}"'})
