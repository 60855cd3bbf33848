"""The shape of a node file: one model per section. What a node does follows from which sections are present.

A section written without content (`api:`) is present with its defaults. Rules that span keys point at the key that
is to be changed (`at` in the error's context).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from twingateway.config.journal import JournalSection
from twingateway.config.secrets import Secret, SecretFiles
from twingateway.config.types import (
    Address,
    Duration,
    FilePath,
    MqttUrl,
    Name,
    ParentUrl,
    Section,
    Size,
    Url,
    parse_host_port,
)
from twingateway.twin.identity import DEFAULT_NAMESPACE


def _refusal(at: str, reason: str) -> PydanticCustomError:
    return PydanticCustomError("rule", "{reason}", {"reason": reason, "at": at})


def _address(default: str) -> Any:
    # The JSON Schema shows the default as it would be written, not as it is held.
    return Field(default=parse_host_port(default), json_schema_extra={"default": default})


class NodeSection(Section):
    """Who this node is."""

    name: Name
    """The node's name; with `identity`, the certificate must be issued for it."""
    namespace: Name = DEFAULT_NAMESPACE
    """The tenant that the node and its devices belong to."""
    data_dir: FilePath = Field(default=Path(), validate_default=True)
    """Folder for what the node writes; relative paths count from the folder of this file."""


class IdentitySection(Section):
    """The node's certificate and key, and the authority that it trusts."""

    certificate: FilePath
    """The node's certificate chain, PEM."""
    key: FilePath
    """The node's private key, PEM."""
    ca: FilePath
    """Certificates of the authority that issued all nodes' certificates, PEM."""
    crl: FilePath | None = None
    """Certificates that are revoked, PEM."""


class StoreSection(Section):
    """Where twins are kept."""

    path: Path = Path("data/{name}.db")
    """The SQLite file; a relative path counts from `node.data_dir`, `{name}` is the node's name."""
    spare: Size = Field(default=16 * 1024 * 1024, json_schema_extra={"default": "16MiB"})
    """Set aside beside it: with this a node whose disk is full goes on carrying out desired values."""


class UplinkSection(Section, SecretFiles):
    """The parent: a node, or an MQTT broker. Reached over QUIC, and over TLS where UDP does not get through."""

    url: ParentUrl | None = None
    """`quic://host` or `quic://host:14567`; `mqtts://host` or `mqtts://host:8883` for TLS alone."""
    urls: tuple[ParentUrl, ...] = ()
    """Several addresses instead of one, in order: the next one while those before it do not answer."""
    protocol: Literal["auto", "twin", "mqtt"] = "auto"
    """What the parent is. `twin`: a node. `mqtt`: any MQTT broker, which is told of twins on plain topics; this node
    is the root of its devices then. `auto`: found out when it first answers, and kept."""
    username: str | None = None
    """For a broker."""
    password: Secret | None = None
    """For a broker; better kept in `password_file`."""
    password_file: Path | None = None
    """File that holds the password."""
    ca: FilePath | None = None
    """Certificates of the authority that issued the parent's, PEM, if it is not `identity.ca`."""
    server_name: str | None = Field(default=None, min_length=1)
    """The name that the parent's certificate is issued for, if it is not the host of the URL."""
    keep_alive: Duration = Field(default=15.0, gt=0)
    """How long the link may be silent before it is probed; after twice that another way is looked for."""
    tls: bool = True
    """Fall back to TLS over TCP when QUIC does not get through."""
    tls_port: int | None = Field(default=None, gt=0, lt=65536)
    """TCP port of the parent, if it is not the port of the URL."""
    early_data: bool = False
    """Let reported values go ahead of the handshake (0-RTT) when a link is made anew; the parent must want it, too.
    Whoever records such a packet can send it again; it changes nothing then."""

    @model_validator(mode="after")
    def _url_or_urls(self) -> Self:
        if self.url is None and not self.urls:
            raise _refusal("url", "the parent's address is missing: give url (or urls, for several)")
        if self.url is not None and self.urls:
            raise _refusal("urls", "give url (one address) or urls (several), not both")
        if self.tls_port is not None and not self.tls:
            raise _refusal("tls_port", "a TLS port without TLS: remove it, or tls: false")
        if not self.tls and any(url.scheme == "mqtts" for url in self.parents):
            raise _refusal("tls", "an mqtts URL is reached over TLS")
        if self.password is not None and self.username is None:
            raise _refusal("password", "a password needs a username")
        if self.username is not None and self.protocol == "twin":
            raise _refusal("username", "a user name is for a broker; a node proves who it is by its certificate")
        return self

    @property
    def parents(self) -> tuple[Url, ...]:
        """The addresses in order."""
        return self.urls if self.url is None else (self.url,)


class ListenSection(Section):
    """Children of this node connect here, over QUIC and over TLS; with `relay`, other MQTT clients as well."""

    address: Address = _address("0.0.0.0:14567")
    """`host:port`; UDP, and TCP unless `tls_address` is given."""
    tls: bool = True
    """Listen for TLS over TCP, too, for children whose UDP is blocked."""
    tls_address: Address | None = None
    """`host:port` for TLS, if it is not `address`."""
    children: tuple[Name, ...] | None = None
    """Names of the nodes that may connect; absent: every node with a certificate of our authority."""
    early_data: bool = False
    """Take reported values ahead of the handshake (0-RTT) from children that come back."""
    max_connections: int = Field(default=1000, gt=0)
    """Connections at a time, QUIC and TLS together."""
    max_strangers: int = Field(default=256, gt=0)
    """Connections at a time that have not proven yet who they are."""
    max_strangers_per_address: int = Field(default=32, gt=0)
    """Such connections from one IP address (of IPv6: from one /64)."""
    relay: Literal["off", "broker", "anyone"] = "off"
    """What becomes of MQTT clients that are no nodes. `off`: refused. `broker`: passed on to the broker of
    `broker.url`, which must ask each for its name and password, since it sees them all come from this node. `anyone`:
    passed on to this node's broker, embedded or not, whoever they are."""

    @model_validator(mode="after")
    def _tls_address_needs_tls(self) -> Self:
        if self.tls_address is not None and not self.tls:
            raise _refusal("tls_address", "a TLS address without TLS: remove it, or tls: false")
        return self


class ApiSection(Section, SecretFiles):
    """The HTTP API and the web page."""

    address: Address = _address("127.0.0.1:8080")
    """`host:port`; beyond this machine only with a token."""
    token: Secret | None = Field(default=None, min_length=1)
    """What clients must send as bearer token; better kept in `token_file`."""
    token_file: Path | None = None
    """File that holds the token."""

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if not self.address.is_loopback and self.token is None:
            raise _refusal("address", f"{self.address} can be reached from other machines: give a token_file")
        return self


class WebhooksSection(Section, SecretFiles):
    """The listener for requests that vendors' services send to adapters."""

    address: Address = _address("127.0.0.1:8081")
    """`host:port`; beyond this machine only with a secret."""
    secret: Secret | None = Field(default=None, min_length=1)
    """What callers must prove to know; better kept in `secret_file`."""
    secret_file: Path | None = None
    """File that holds the secret."""
    max_body: Size = 64 * 1024
    """Largest request body that is read."""

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if not self.address.is_loopback and self.secret is None:
            raise _refusal("address", f"{self.address} can be reached from other machines: give a secret_file")
        return self


class BrokerSection(Section, SecretFiles):
    """The local MQTT broker: embedded (`listen`) or an existing one (`url`)."""

    listen: Address | None = None
    """Run the embedded broker here; the default, on 127.0.0.1:1883, unless `url` is given."""
    url: MqttUrl | None = None
    """Use the broker at `mqtt://host` or `mqtt://host:1883`."""
    username: str | None = None
    """For `url`."""
    password: Secret | None = None
    """For `url`; better kept in `password_file`."""
    password_file: Path | None = None
    """File that holds the password."""

    @model_validator(mode="before")
    @classmethod
    def _embedded_by_default(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("listen") is None and data.get("url") is None:
            return {**data, "listen": "127.0.0.1:1883"}
        return data

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if self.listen is not None and self.url is not None:
            raise _refusal("url", "give listen (embedded broker) or url (existing broker), not both")
        if self.url is None and self.username is not None:
            raise _refusal("username", "a user name is for an existing broker; give its url")
        if self.url is None and self.password is not None:
            raise _refusal("password", "a password is for an existing broker; give its url")
        if self.password is not None and self.username is None:
            raise _refusal("password", "a password needs a username")
        return self


class LogSection(Section):
    """What the node writes about itself, to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"
    """`auto`: console on a terminal, otherwise JSON."""


class NodeConfig(Section):
    """A node file. `node` is required; every other section adds something that the node does."""

    node: NodeSection
    identity: IdentitySection | None = None
    store: StoreSection = Field(default_factory=StoreSection)
    uplink: UplinkSection | None = None
    listen: ListenSection | None = None
    api: ApiSection | None = None
    webhooks: WebhooksSection | None = None
    broker: BrokerSection | None = None
    adapters: Mapping[str, Any] = Field(default_factory=dict)
    """Adapter name → its settings; once loaded, an instance of the adapter kind's settings model. An adapter that a
    device names and that is not listed runs with its defaults."""
    devices: tuple[str, ...] = ()
    """Files of `kind: Device` documents; `*`, `**` and `?` match, relative to the folder of this file."""
    models: tuple[str, ...] = ()
    """Files of `kind: DeviceModel` documents, likewise."""
    journal: JournalSection = Field(default_factory=JournalSection)
    log: LogSection = Field(default_factory=LogSection)

    @model_validator(mode="before")
    @classmethod
    def _empty_sections_are_present(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        return {key: _EMPTY.get(key, dict)() if value is None else value for key, value in data.items()}

    @model_validator(mode="after")
    def _linked_nodes_have_an_identity(self) -> Self:
        known_broker = self.uplink is not None and self.uplink.protocol == "mqtt"
        for section in ("listen",) if known_broker else ("uplink", "listen"):
            if getattr(self, section) is not None and self.identity is None:
                reason = f"{section} needs an identity section: certificate, key and ca"
                raise _refusal(section, reason)
        return self

    @model_validator(mode="after")
    def _relay_has_a_broker(self) -> Self:
        if self.listen is None or self.listen.relay == "off":
            return self
        if self.broker is None:
            raise _refusal("listen.relay", "clients are relayed to this node's broker: add a broker section")
        if self.listen.relay == "broker" and self.broker.url is None:
            reason = "the embedded broker lets in whoever comes: write `anyone` if that is meant, or give broker.url"
            raise _refusal("listen.relay", reason)
        return self

    @property
    def store_path(self) -> Path:
        """The SQLite file, with the node's name put in, below `node.data_dir` unless absolute."""
        return self.node.data_dir / str(self.store.path).replace("{name}", self.node.name)


#: Sections that are lists; all others are mappings.
_EMPTY: dict[str, type[list[Any]] | type[dict[str, Any]]] = {"devices": list, "models": list}
