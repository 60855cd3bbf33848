"""`twingateway get`: what a node knows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from twingateway.cli.client import DEFAULT_API, Api, ApiOption, NamespaceOption, TokenOption
from twingateway.cli.output import Form, FormOption, print_data, print_table, shown, shown_time
from twingateway.errors import NotFound, UnknownModel
from twingateway.twin.presence import PresenceState

app = typer.Typer(
    help="Show twins, models, nodes and adapters as a node's API tells them.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Row = tuple[Any, ...]

#: OLDEST: how long the oldest register that waits has done so. SENT: how much was sent for each new register.
_NODE_HEADINGS = (
    *("NAME", "ROLE", "STATE", "SINCE", "DEVICES", "WAITING", "OLDEST", "RTT", "LOSS", "BURST", "COPIES", "SENT"),
    *("GOODPUT", "TRANSPORT", "ADDRESS"),
)


#: Entries of the journal in one answer: as many as a node gives.
_PAGE = 10_000


@app.command("twins")
def twins(
    label: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Only with this label; may be repeated.")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME@VERSION", help="Only of this model.")] = None,
    presence: Annotated[PresenceState | None, typer.Option(help="Only in this state.")] = None,
    output: FormOption = Form.TABLE,
    api: ApiOption = DEFAULT_API,
    token_file: TokenOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """List the twins.

    Examples:
      twingateway get twins
      twingateway get twins --label site=north --presence offline
      twingateway get twins -o json | jq '.[].spec.reportedProperties'
    """
    caller = Api(api, token_file, namespace)
    found = list(caller.pages("/twins", label=label, model=model, presence=presence))
    headings = ("NAME", "PRESENCE", "MODEL", "HOLDER", "REPORTED", "WAITING")
    _show(found, output, headings, map(_twin_row, found))


@app.command("twin")
def twin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The twin's name.")],
    output: FormOption = Form.TABLE,
    api: ApiOption = DEFAULT_API,
    token_file: TokenOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Show one twin: its properties, desired and reported, in their model's units, and how far each desired value has
    come.

    Examples:
      twingateway get twin hvac
      twingateway get twin hvac -o yaml
    """
    from urllib.parse import quote

    caller = Api(api, token_file, namespace)
    document = caller.get(f"/twins/{quote(name, safe='')}")
    if output is not Form.TABLE:
        print_data(document, output)
        return
    status = document["status"]
    facts = {
        "name": document["metadata"]["name"],
        "namespace": document["metadata"].get("namespace"),
        "model": document["spec"].get("model"),
        "labels": _joined(document["metadata"].get("labels", {})),
        "presence": _presence(status["presence"]),
        "holder": status.get("holder"),
        "source": _source(status.get("source")),
        "refused": "; ".join(each["message"] for each in status.get("refused", {}).values()),
    }
    for fact, value in facts.items():
        if value:
            print(f"{fact + ':':<11}{shown(value)}")
    for name, each in status.get("overrides", {}).items():
        print(f"{'override:':<11}{_override(name, each)}")
    for name, each in status.get("quality", {}).items():
        print(f"{'bad:':<11}{shown(name)}, since {shown_time(each.get('since', 0))}, {shown(ack_note(each))}")
    print()
    units = _units(caller, document["spec"].get("model"))
    print_table(
        ("PROPERTY", "REPORTED", "UNIT", "AT", "QUALITY", "DESIRED", "ACK", ""), _property_rows(document, units)
    )


@app.command("models")
def models(
    output: FormOption = Form.TABLE,
    api: ApiOption = DEFAULT_API,
    token_file: TokenOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """List the device models."""
    found = list(Api(api, token_file, namespace).pages("/models"))
    rows = ((m["name"], m["version"], m["properties"], m["digest"][:12], m["description"]) for m in found)
    _show(found, output, ("NAME", "VERSION", "PROPERTIES", "DIGEST", "DESCRIPTION"), rows)


@app.command("model")
def model(
    name: Annotated[
        str, typer.Argument(metavar="NAME[@VERSION]", help="The model; the highest version unless named.")
    ],
    output: FormOption = Form.TABLE,
    api: ApiOption = DEFAULT_API,
    token_file: TokenOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Show one device model: its properties, and what their values may be.

    Examples:
      twingateway get model hvac
      twingateway get model hvac@1.2.0 -o yaml > models/hvac.yaml
    """
    caller = Api(api, token_file, namespace)
    name, _, version = name.partition("@")
    version = version or _last_version(caller, name)
    document = _model(caller, name, version)
    if output is not Form.TABLE:
        print_data(document, output)
        return
    print(f"{name}@{version}  {document['spec'].get('description', '')}".rstrip())
    print()
    properties = document["spec"]["properties"]
    rows = ((each, *_constraints(properties[each])) for each in sorted(properties))
    print_table(("PROPERTY", "TYPE", "ACCESS", "UNIT", "VALUES", "DESCRIPTION"), rows)


@app.command("nodes")
def nodes(
    output: FormOption = Form.TABLE,
    api: ApiOption = DEFAULT_API,
    token_file: TokenOption = None,
) -> None:
    """List this node, its parent and its children, with the quality of the links to them."""
    found = list(Api(api, token_file).pages("/nodes"))
    _show(found, output, _NODE_HEADINGS, map(_node_row, found))


@app.command("adapters")
def adapters(
    output: FormOption = Form.TABLE,
    api: ApiOption = DEFAULT_API,
    token_file: TokenOption = None,
) -> None:
    """List the adapters that the node runs, and how many of their devices answer."""
    found = list(Api(api, token_file).pages("/adapters"))
    rows = ((a["name"], a["devices"], a["online"], a["error"], a["summary"]) for a in found)
    _show(found, output, ("NAME", "DEVICES", "ONLINE", "ERROR", "SUMMARY"), rows)


@app.command("events")
def events(
    twin: Annotated[str | None, typer.Argument(metavar="TWIN", help="Only what is about this twin.")] = None,
    class_name: Annotated[str, typer.Option("--class", metavar="CLASS", help="event, alarm …")] = "event",
    last: Annotated[int, typer.Option(min=1, help="So many at most, the newest.")] = 100,
    output: FormOption = Form.TABLE,
    api: ApiOption = DEFAULT_API,
    token_file: TokenOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """List what was told: conflicts, refused claims, repairs, certificates that run out. The root knows it of all.

    Examples:
      twingateway get events
      twingateway get events hvac --last 10
      twingateway get events --class alarm -o json
    """
    from itertools import islice
    from urllib.parse import quote

    path = f"/journal/{quote(class_name, safe='')}"
    caller = Api(api, token_file, namespace)
    found = list(islice(caller.pages(path, first="newest", twin=twin, limit=min(last, _PAGE)), last))[::-1]
    if twin is not None and not found:  # of a twin that was deleted there may be some
        caller.get(f"/twins/{quote(twin, safe='')}")
    _show(found, output, ("TIME", "NODE", "TWIN", "EVENT", "MESSAGE"), map(_event_row, found))


def _event_row(entry: dict[str, Any]) -> Row:
    when, node = shown_time(entry["time"]), entry["node"]
    if "gap" in entry:
        return when, node, None, "gap", f"{_missing(entry['count'])}: {entry['gap']}"
    value = entry["value"]
    message = value["message"] if isinstance(value, dict) and "message" in value else shown(value)
    return when, node, entry["twin"], entry["name"], message


def _missing(count: int) -> str:
    return "1 entry is missing" if count == 1 else f"{count} entries are missing"


def _show(data: list[Any], form: Form, headings: tuple[str, ...], rows: Iterable[Row]) -> None:
    if form is Form.TABLE:
        print_table(headings, rows)
    else:
        print_data(data, form)


def _twin_row(document: dict[str, Any]) -> Row:
    status = document["status"]
    desired = status["properties"]["desired"].values()
    waiting = sum(1 for each in desired if each.get("ack", {}).get("state") in ("pending", "delivered"))
    return (
        document["metadata"]["name"],
        status["presence"]["state"],
        document["spec"].get("model"),
        status.get("holder"),
        _joined(document["spec"]["reportedProperties"]),
        waiting or None,
    )


def _model(caller: Api, name: str, version: str) -> dict[str, Any]:
    """Its document. Raises UnknownModel."""
    from urllib.parse import quote

    found: dict[str, Any] = caller.get(f"/models/{quote(name, safe='')}/versions/{quote(version, safe='')}")
    return found


def _units(caller: Api, ref: str | None) -> dict[str, str]:
    """By property, of those that have one; also what the items of a list are in. None while the model is missing."""
    try:
        properties = {} if ref is None else _model(caller, *ref.split("@", 1))["spec"]["properties"]
    except NotFound:
        return {}
    found = {name: each.get("unit") or each.get("items", {}).get("unit") for name, each in properties.items()}
    return {name: unit for name, unit in found.items() if unit}


def _property_rows(document: dict[str, Any], units: dict[str, str]) -> Iterable[Row]:
    spec, status = document["spec"], document["status"]["properties"]
    desired, reported = spec["desiredProperties"], spec["reportedProperties"]
    for name in sorted({*desired, *reported}):
        ack = status["desired"].get(name, {}).get("ack", {})
        told = status["reported"].get(name, {})
        at = shown_time(told.get("time", 0))
        wanted = desired.get(name), ack.get("state"), ack_note(ack)
        yield name, reported.get(name), units.get(name), at, _quality(told), *wanted


def _quality(told: dict[str, Any]) -> str:
    """The word, and if it is not good the reason's, whose sentence is shown above."""
    return ", ".join(filter(None, [told.get("quality"), told.get("reason", {}).get("code")]))


def ack_note(ack: dict[str, Any]) -> str:
    """Why an acknowledgement is what it is; empty if there is nothing to say."""
    return ": ".join(str(ack[key]) for key in ("code", "message") if ack.get(key))


def _node_row(node: dict[str, Any]) -> Row:
    quality = node.get("quality") or {}
    return (
        node["name"],
        node["role"],
        node["state"],
        shown_time(node.get("since", 0)),
        node.get("devices"),
        node.get("waiting"),
        _figure(node.get("queue_age"), "{:.1f} s"),
        _figure(quality.get("rtt"), "{:.0f} ms", 1000),
        _figure(quality.get("loss"), "{:.1%}"),
        _figure(quality.get("burst"), "{:.1f}"),
        quality.get("copies"),
        _figure(quality.get("redundancy"), "{:.2f}x"),
        _figure(node.get("goodput"), "{:.1f} kB/s", 0.001),
        node.get("transport"),
        node.get("url") or node.get("address"),
    )


def _last_version(caller: Api, name: str) -> str:
    """The highest version that the node has."""
    versions = [each["version"] for each in caller.pages("/models") if each["name"] == name]
    if not versions:
        raise UnknownModel(f"there is no model {name}; twingateway get models lists those there are")
    return str(max(versions, key=_by_number))


def _by_number(version: str) -> tuple[tuple[int, int, str], ...]:
    """1.10 is above 1.9, and 1.10-rc below it."""
    parts = version.replace("-", ".").split(".")
    return tuple((1, int(part), "") if part.isdecimal() else (0, 0 if part else 1, part) for part in [*parts, ""])


def _constraints(described: dict[str, Any]) -> Row:
    """Columns of one property: all that it may be beside type, access and unit in one."""
    known = {"type", "access", "unit", "description"}
    values = " ".join(f"{key}={shown(value)}" for key, value in described.items() if key not in known)
    return described["type"], described.get("access"), described.get("unit"), values, described.get("description")


def _figure(value: float | None, form: str, factor: float = 1) -> str | None:
    return None if value is None else form.format(value * factor)


def _presence(presence: dict[str, Any]) -> str:
    since = shown_time(presence.get("since", 0))
    return ", ".join(part for part in (presence["state"], since and f"since {since}", ack_note(presence)) if part)


def _source(source: dict[str, Any] | None) -> str:
    """The last error of the device, when it was, and when it is tried again."""
    if source is None:
        return ""
    times = {"at": source.get("time", 0), "next try": source.get("next_try", 0)}
    return ", ".join([ack_note(source), *(f"{what} {shown_time(time)}" for what, time in times.items() if time)])


def _override(name: str, each: dict[str, Any]) -> str:
    """A local override: what was set, by whom, where, since when, and what is to become of it."""
    by = each.get("actor", "")
    ack = each.get("ack", {})
    parts = [
        f"{name}={shown(each['value'])}" + (f" by {by}" if by else "") + f" at {each['node']}",
        f"since {shown_time(each.get('since', 0))}",
        str(each["state"]),
        " ".join(part for part in (str(ack.get("state", "")), ack_note(ack)) if part),
    ]
    return ", ".join(part for part in parts if part)


def _joined(properties: dict[str, Any]) -> str:
    return " ".join(f"{name}={shown(value)}" for name, value in properties.items())
