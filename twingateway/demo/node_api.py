"""A node's HTTP API, as far as the demo uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twingateway.demo.failure import DemoFailed

if TYPE_CHECKING:
    import httpx2


class NodeApi:
    """An asynchronous context manager. `api`: the node's `host:port`. All methods raise DemoFailed."""

    def __init__(self, api: str) -> None:
        self.url = f"http://{api}"
        self._client: httpx2.AsyncClient | None = None

    async def __aenter__(self) -> NodeApi:
        import httpx2

        self._client = httpx2.AsyncClient(base_url=self.url, timeout=20.0, trust_env=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._client is not None
        await self._client.aclose()

    async def twins(self) -> dict[str, dict[str, Any]]:
        """Every twin's document with its status, by name."""
        page = (await self._ask("GET", "/twins", params={"limit": 1000})).json()
        return {twin["metadata"]["name"]: twin for twin in page["items"]}

    async def set(self, device: str, name: str, value: Any, wait: float | None = None) -> dict[str, Any]:
        """Set one desired value → its ack, after `wait` seconds at most if it was to be waited for."""
        patch = {"spec": {"desiredProperties": {name: value}}}
        params = {} if wait is None else {"wait": f"{wait}s"}
        answer = await self._ask("PATCH", f"/twins/{device}", params=params, json=patch)
        return ack(answer.json(), name)

    async def ack(self, device: str, name: str) -> dict[str, Any]:
        return ack((await self._ask("GET", f"/twins/{device}")).json(), name)

    async def metric(self, name: str) -> float:
        """The sum over all labels."""
        text = (await self._ask("GET", "/metrics")).text
        return sum(
            float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))
        )

    async def _ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        import httpx2

        assert self._client is not None
        try:
            response = await self._client.request(method, path, **options)
        except httpx2.HTTPError as error:
            raise DemoFailed(f"{method} {self.url}{path}: {type(error).__name__}: {error}") from error
        if response.is_error:
            raise DemoFailed(f"{method} {self.url}{path}: {response.status_code} {response.text[:300]}")
        return response


def ack(twin: dict[str, Any], name: str) -> dict[str, Any]:
    """The ack of a desired property in a twin's document; empty without one."""
    shown = twin["status"]["properties"]["desired"].get(name, {})
    found: dict[str, Any] = shown.get("ack", {})
    return found
