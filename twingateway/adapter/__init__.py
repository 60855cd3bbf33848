"""The SDK: everything an adapter's author needs, and nothing else. See adapters/README.md."""

from twingateway.adapter.beat import Beat
from twingateway.adapter.broker import BrokerClient, Message, Subscription
from twingateway.adapter.driver import UNCONFIRMED, Adapter, Driver, Written, not_writable
from twingateway.adapter.duration import Duration, parse_duration
from twingateway.adapter.figure import Figure
from twingateway.adapter.jmespath import check_jmespath
from twingateway.adapter.judge import Judge
from twingateway.adapter.kind import AdapterContext, AdapterKind
from twingateway.adapter.port import Device, DevicePort
from twingateway.adapter.secret import Secret, SecretFiles
from twingateway.adapter.webhook import WebhookHandler, WebhookRequest, WebhookResponse
from twingateway.twin.identity import DeviceId
from twingateway.twin.model import Access, Model, Property, PropertyType
from twingateway.twin.value import Value

__all__ = [
    "UNCONFIRMED",
    "Access",
    "Adapter",
    "AdapterContext",
    "AdapterKind",
    "Beat",
    "BrokerClient",
    "Device",
    "DeviceId",
    "DevicePort",
    "Driver",
    "Duration",
    "Figure",
    "Judge",
    "Message",
    "Model",
    "Property",
    "PropertyType",
    "Secret",
    "SecretFiles",
    "Subscription",
    "Value",
    "WebhookHandler",
    "WebhookRequest",
    "WebhookResponse",
    "Written",
    "check_jmespath",
    "not_writable",
    "parse_duration",
]
