"""What every adapter promises, as tests: see `AdapterContract`."""

from __future__ import annotations

from twingateway.testing.adapter_contract.configuration import ConfigurationContract
from twingateway.testing.adapter_contract.life import LifeContract
from twingateway.testing.adapter_contract.neighbours import NeighbourContract
from twingateway.testing.adapter_contract.outages import OutageContract
from twingateway.testing.adapter_contract.values import ValuesContract
from twingateway.testing.adapter_contract.writing import WritingContract


class AdapterContract(
    ConfigurationContract, LifeContract, ValuesContract, WritingContract, NeighbourContract, OutageContract
):
    """Derive a test class from it, say which adapter in `kind`, and play its device in `play`: pytest then tries, and
    needs no hardware for it, all that a gateway relies on. What else can be said is in `Played`; what the device is
    to offer in `PlayedDevice`. A test whose means are missing is skipped, and says what to offer."""
