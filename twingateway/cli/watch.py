"""`twingateway watch`: follow a node's events, across lost connections.

Each event has an id; after a break the next request names the last one seen (`Last-Event-ID`), so that nothing is
missed. The first connection must succeed; later ones are tried until Ctrl-C.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from twingateway.cli.client import DEFAULT_API, TIMEOUT, Api, ApiOption, NamespaceOption, TokenOption, to_error
from twingateway.cli.get import ack_note
from twingateway.cli.output import Form, FormOption, shown, shown_time, yaml_text
from twingateway.errors import NotFound, Unavailable
from twingateway.twin.event_kind import EventKind
from twingateway.twin.presence import STATE

#: Seconds without a sign of life (the API sends one every 15) after which the connection counts as lost.
SILENCE = 40.0
#: Events whose value is a state, and what there is to say about it.
_STATES = frozenset({"ack", "presence", "lifecycle", "reach"})
#: What the outcome of an override means.
_VERDICTS = {
    "accepted": "it is the desired value now",
    "lost": "the cloud's value stands",
    "open": "a person is to decide",
    "withdrawn": "it was taken back",
}
#: Seconds before a lost connection is tried again: doubling from the first to the second.
BACK_OFF = (0.5, 10.0)


def watch(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Only this twin.")] = None,
    kinds: Annotated[
        list[EventKind] | None,
        typer.Option("--kind", help="Only these events; may be repeated.", case_sensitive=True),
    ] = None,
    output: FormOption = Form.TABLE,
    as_json: Annotated[bool, typer.Option("--json", help="The same as -o json.", hidden=True)] = False,
    api: ApiOption = DEFAULT_API,
    token_file: TokenOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Follow every change until Ctrl-C: reported and desired values and their quality, acknowledgements, presence,
    notices. As a table each is one line, as JSON one object a line, as YAML one document.

    Examples:
      twingateway watch
      twingateway watch hvac
      twingateway watch --kind presence --kind notice
      twingateway watch -o json | jq 'select(.property == "power")'
    """
    show, caller = _FORMS[Form.JSON if as_json else output], Api(api, token_file, namespace)
    if name is not None:
        _tell_if_missing(caller, name)
    wanted = {"twin": name, "kind": [kind.value for kind in kinds or ()]}
    for event, data in _follow(caller, wanted):
        line = show(event, data)
        if line:
            print(line, flush=True)


def _tell_if_missing(caller: Api, name: str) -> None:
    """There is nothing wrong with waiting for a twin, but a mistyped name waits for ever."""
    from urllib.parse import quote

    try:
        caller.get(f"/twins/{quote(name, safe='')}")
    except NotFound as error:
        print(f"{error.message}; waiting for it", file=sys.stderr)


def _follow(caller: Api, wanted: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(event, data), across connections. Raises what the first connection raises; later what no waiting cures."""
    seen, pause = "", BACK_OFF[0]
    while True:
        news = f"following {caller.url}; Ctrl-C ends it" if not seen else "connected again"
        try:
            for position, event, text in _listen(caller, wanted, seen):
                if news:
                    print(news, file=sys.stderr)
                news, seen, pause = "", position, BACK_OFF[0]
                if text:
                    yield event, json.loads(text)
            reason = "the node ended the stream"
        except Unavailable as error:
            if not seen:
                raise
            reason = error.message
        print(f"{reason}; trying again in {pause:g} s", file=sys.stderr)
        time.sleep(pause)
        pause = min(pause * 2, BACK_OFF[1])


def _listen(caller: Api, wanted: dict[str, Any], last_id: str) -> Iterator[tuple[str, str, str]]:
    """(id, event, data) of one connection; data is empty for what only moves the id."""
    from httpx2 import EventSource, Timeout

    headers = {"Last-Event-ID": last_id} if last_id else {}
    query, patience = caller.query(wanted), Timeout(TIMEOUT, read=SILENCE)
    with (
        caller.translated(),
        caller.client() as client,
        client.stream("GET", "/events", params=query, headers=headers, timeout=patience) as response,
    ):
        if not response.is_success:
            response.read()
            raise to_error(response)
        for event in EventSource(response):
            yield event.id or last_id, event.event, event.data


def _json_line(event: str, data: dict[str, Any]) -> str:
    return json.dumps({"event": event, **data}, ensure_ascii=False)


def _yaml_document(event: str, data: dict[str, Any]) -> str:
    return f"---\n{yaml_text({'event': event, **data})}".rstrip()


def _text_line(event: str, data: dict[str, Any]) -> str:
    """Empty for what nodes tell each other beside a device's state, which people hear of as quality and notices."""
    if event == EventKind.PRESENCE and data.get("property") != STATE:
        return ""
    when = shown_time(data.get("time", 0))
    subject = shown(data.get("twin", ""))
    if event == "notice":
        return " ".join(part for part in (when, subject, f"{data['code']}: {data['message']}") if part)
    if event == EventKind.QUALITY:
        return f"{when} {subject} quality = {_quality(data)}"
    return f"{when} {subject} {event} {shown(data.get('property', ''))} = {_value(data.get('value'), event)}"


def _quality(data: dict[str, Any]) -> str:
    """Of all values of a twin, and of those that are bad in themselves."""
    whole = ", ".join(filter(None, [shown(data["quality"]), ack_note(data.get("reason", {}))]))
    bad = [f"{shown(name)}: {ack_note(reason)}" for name, reason in data.get("bad", {}).items()]
    return "; but ".join([whole, *bad])


def _value(value: Any, event: str) -> str:
    """Of a state the word, who holds the device, and why; of an override what is set, by whom and how far it is;
    of a verdict what it means; anything else as it is."""
    if value is None:
        return "null"
    if event == EventKind.OVERRIDE and isinstance(value, dict) and "value" in value:
        by, at = value.get("actor"), value.get("node")
        words = [shown(value["value"]), by and f"by {shown(by)}", at and f"at {shown(at)}"]
        ack = value.get("ack", {})
        return ", ".join(filter(None, [" ".join(filter(None, words)), ack.get("state"), ack_note(ack)]))
    if event == EventKind.VERDICT and isinstance(value, dict) and value.get("outcome") in _VERDICTS:
        by = value.get("by")
        return f"{value['outcome']}{f' by {shown(by)}' if by else ''}: {_VERDICTS[value['outcome']]}"
    if event not in _STATES or not isinstance(value, dict) or "state" not in value:
        return shown(value)
    holder = value.get("holder")
    return ", ".join(filter(None, [shown(value["state"]), holder and f"held by {shown(holder)}", ack_note(value)]))


_FORMS: dict[Form, Callable[[str, dict[str, Any]], str]] = {
    Form.TABLE: _text_line,
    Form.JSON: _json_line,
    Form.YAML: _yaml_document,
}
