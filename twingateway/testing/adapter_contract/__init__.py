"""A conformance kit for adapters: what the gateway relies on, as tests to derive from. See adapters/README.md."""

from twingateway.testing.adapter_context import MemoryContext
from twingateway.testing.adapter_contract.contract import AdapterContract
from twingateway.testing.adapter_contract.played_device import PlayedDevice

__all__ = ["AdapterContract", "MemoryContext", "PlayedDevice"]
