"""What the tools print about plans and scans."""

from __future__ import annotations

from twingateway.errors import DeviceError
from twingateway_modbus.address import AddressSettings
from twingateway_modbus.point import Table
from twingateway_modbus.tools.cost import busy_share, costs
from twingateway_modbus.tools.documents import NamedSettings
from twingateway_modbus.tools.scan import Scanner


def show_plan(devices: list[NamedSettings]) -> None:
    """One table for the first device; the others of a range have the same."""
    first = devices[0]
    others = f" and {len(devices) - 1} more" if len(devices) > 1 else ""
    print(f"{first.id.name}{others}: unit {first.settings.address.unit} at {first.settings.address.endpoint}")
    found = costs(first.settings)
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
    per_second = sum(1 / cost.period for cost in found)
    sent = sum((cost.sent + cost.received) / cost.period for cost in found)
    print(
        f"{len(found)} requests; {per_second:.3g} requests and {sent:.4g} bytes a second;"
        f" the connection is busy {100 * busy_share(found):.1f} % of the time (estimated)"
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
