"""`/models`: immutable by name and version."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from twingateway.api.body import read_json
from twingateway.api.params import ModelName, Namespace, TheGateway
from twingateway.errors import InvalidDocument, Problem
from twingateway.twin.model import ModelRef

router = APIRouter(tags=["models"])


@router.get("/models")
async def list_models(gateway: TheGateway, namespace: Namespace) -> dict[str, Any]:
    models = gateway.models.all(namespace)
    return {
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


@router.get("/models/{name}/versions/{version}")
async def get_model(gateway: TheGateway, namespace: Namespace, name: ModelName, version: str) -> JSONResponse:
    """The DeviceModel document; the ETag is its digest."""
    model = gateway.models.get(namespace, f"{name}@{version}")
    return JSONResponse(dict(model.document), headers={"ETag": f'"{model.digest}"'})


@router.put("/models/{name}/versions/{version}")
async def put_model(
    gateway: TheGateway, namespace: Namespace, name: ModelName, version: str, request: Request
) -> JSONResponse:
    """Store a model: 201 when it is new, 200 when this very content is here already, 409 for other content."""
    document = await read_json(request)
    metadata = document.get("metadata") if isinstance(document, dict) else None
    stated = (metadata.get("name"), metadata.get("version")) if isinstance(metadata, dict) else (None, None)
    if stated != (name, version):
        message = f"the document is {stated[0]}@{stated[1]}, the URL {ModelRef(name, version)}"
        raise InvalidDocument(message, [Problem(message, "metadata", "match")])
    model, created = await gateway.commands.put_model(namespace, document)
    return JSONResponse(dict(model.document), 201 if created else 200, headers={"ETag": f'"{model.digest}"'})
