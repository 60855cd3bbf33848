"""The OpenAPI document teaches: every route says what it does and what it speaks."""

from __future__ import annotations

from tests.api.site import PROBLEM, in_process
from twingateway.twin.patch import merge_patch
from twingateway.validation.documents import check_model, check_twin


async def document():
    async with in_process() as site:
        return (await site.client.get("/openapi.json")).json()


async def test_every_route_of_the_api_is_described():
    paths = (await document())["paths"]
    operations = {(method, path): operation for path, item in paths.items() for method, operation in item.items()}
    assert set(operations) == {
        ("get", "/twins"),
        ("get", "/twins/{name}"),
        ("patch", "/twins/{name}"),
        ("put", "/twins/{name}"),
        ("delete", "/twins/{name}"),
        ("get", "/twins/{name}/desired"),
        ("post", "/twins/{name}/move"),
        ("get", "/twins/{name}/overrides"),
        ("get", "/twins/{name}/overrides/{property_name}"),
        ("put", "/twins/{name}/overrides/{property_name}"),
        ("delete", "/twins/{name}/overrides/{property_name}"),
        ("post", "/twins/{name}/overrides/{property_name}/resolution"),
        ("get", "/models"),
        ("get", "/models/{name}/versions/{version}"),
        ("put", "/models/{name}/versions/{version}"),
        ("get", "/events"),
        ("get", "/twins/{name}/history"),
        ("get", "/journal"),
        ("get", "/journal/{class_name}"),
        ("get", "/nodes"),
        ("get", "/adapters"),
        ("get", "/healthz"),
        ("get", "/readyz"),
        ("get", "/metrics"),
    }
    for operation in operations.values():
        assert operation["summary"]
        assert operation["description"]
        assert list(operation["responses"]["default"]["content"]) == [PROBLEM]
        assert "422" not in operation["responses"], "problems have one shape, not the framework's"
    assert len({operation["operationId"] for operation in operations.values()}) == len(operations)


async def test_content_types_are_what_is_sent():
    paths = (await document())["paths"]
    assert "text/event-stream" in paths["/events"]["get"]["responses"]["200"]["content"]
    assert "application/json" not in paths["/events"]["get"]["responses"]["200"]["content"]
    assert any("text/plain" in kind for kind in paths["/metrics"]["get"]["responses"]["200"]["content"])
    patch = paths["/twins/{name}"]["patch"]["requestBody"]["content"]
    assert set(patch) == {"application/merge-patch+json", "application/json"}


async def test_every_namespace_parameter_says_what_the_token_opens():
    paths = (await document())["paths"]
    for path in ("/twins", "/twins/{name}", "/models", "/events"):
        (namespace,) = (each for each in paths[path]["get"]["parameters"] if each["name"] == "namespace")
        assert "token" in namespace["description"]


async def test_the_examples_are_valid():
    paths = (await document())["paths"]
    twin = paths["/twins/{name}"]["put"]["requestBody"]["content"]["application/json"]["example"]
    model = paths["/models/{name}/versions/{version}"]["put"]["requestBody"]["content"]["application/json"]["example"]
    patch = paths["/twins/{name}"]["patch"]["requestBody"]["content"]["application/json"]["example"]
    assert check_twin(twin).problems == ()
    assert check_model(model).problems == ()
    assert check_twin(merge_patch(twin, patch)).problems == ()


async def test_what_is_not_there_names_the_description() -> None:
    async with in_process() as site:
        answer = await site.client.get("/nothing")
    assert answer.status_code == 404
    assert "/openapi.json" in answer.json()["detail"]
