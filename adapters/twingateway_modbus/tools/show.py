"""What the tools print about plans and scans."""

from __future__ import annotations

from collections import defaultdict

from twingateway.errors import DeviceError
from twingateway_modbus.address import AddressSettings
from twingateway_modbus.point import Table
from twingateway_modbus.settings import DeviceSettings
from twingateway_modbus.tools.cost import Cost, busy_share, costs, link_costs
from twingateway_modbus.tools.documents import NamedSettings
from twingateway_modbus.tools.scan import Scanner


def show_plan(devices: list[NamedSettings]) -> None:
    """A table for all devices that have the same plan, and what several devices cost their endpoint in all."""
    alike: list[tuple[list[Cost], list[NamedSettings]]] = []
    for each in devices:
        found = costs(each.settings)
        same = next((held for known, held in alike if known == found), None)
        if same is None:
            alike.append((found, [each]))
        else:
            same.append(each)
    for found, held in alike:
        _show_table(found, held)
    by_endpoint: defaultdict[str, list[DeviceSettings]] = defaultdict(list)
    for each in devices:
        by_endpoint[each.settings.address.endpoint].append(each.settings)
    for endpoint, sharing in by_endpoint.items():
        if len(sharing) > 1:
            units = len({settings.address.unit for settings in sharing})
            found = link_costs(sharing)
            print(f"all {len(sharing)} devices ({units} units) at {endpoint}: {_sum(found, sharing[0])}")


def _show_table(found: list[Cost], held: list[NamedSettings]) -> None:
    first = held[0]
    others = f" and {len(held) - 1} more" if len(held) > 1 else ""
    print(f"{first.id.name}{others}: unit {first.settings.address.unit} at {first.settings.address.endpoint}")
    print(f"{'PERIOD':>8}  {'TABLE':8}  {'ADDRESS':>13}  {'COUNT':>5}  {'BYTES':>9}  {'TIME':>9}  PROPERTIES")
    for cost in found:
        block = cost.block
        names = [point.name for point in block.points]
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        span = f"{block.address}-{block.end - 1}"
        size = f"{cost.sent}+{cost.received}"
        print(
            f"{cost.period:>7g}s  {block.table:8}  {span:>13}  {block.count:>5}  {size:>9}"
            f"  {1000 * cost.seconds:>6.1f} ms  {shown}"
        )
    print(_sum(found, first.settings))


def _sum(found: list[Cost], settings: DeviceSettings) -> str:
    per_second = sum(1 / cost.period for cost in found)
    sent = sum((cost.sent + cost.received) / cost.period for cost in found)
    connections = settings.address.connections
    busy = "the connection is" if connections == 1 else f"each of {connections} connections is"
    return (
        f"{len(found)} requests; {per_second:.3g} requests and {sent:.4g} bytes a second;"
        f" {busy} busy {100 * busy_share(found, connections):.1f} % of the time (estimated)"
    )


async def run_scan(address: AddressSettings, units: range, table: Table | None, addresses: range) -> None:
    scanner = Scanner(address)
    try:
        count = 0
        async for found in scanner.units(units):
            count += 1
            print(f"unit {found.unit}: {found.said}" + "".join(f"; {each}" for each in found.objects), flush=True)
            if table is not None:
                await _show_readable(scanner, found.unit, table, addresses)
        print(f"{count} of {len(units)} units answered; {scanner.requests} requests were made")
    finally:
        scanner.close()


async def _show_readable(scanner: Scanner, unit: int, table: Table, addresses: range) -> None:
    """A unit that falls silent meanwhile does not end the scan."""
    try:
        ranges = await scanner.readable(unit, table, addresses[0], addresses[-1])
    except DeviceError as error:
        print(f"  {table}: {error.message}", flush=True)
        return
    for each in ranges:
        print(f"  {table} {each.start}-{each.end - 1}", flush=True)
