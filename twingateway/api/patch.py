"""What of a merge patch can be judged before it is applied: names of properties, labels, sizes of values.

What the patch sets is put into a DeviceTwin document and checked as one, so that a twin never gets by PATCH what PUT
refuses. Parts that may not be patched at all are left to the gateway, which names them.
"""

from __future__ import annotations

from twingateway.errors import InvalidDocument
from twingateway.twin.document import API_VERSION, KIND
from twingateway.twin.value import Value
from twingateway.validation.documents import check_twin


def check_patch(name: str, patch: Value) -> None:
    """Raises InvalidDocument with everything that is wrong with what `patch` sets in the twin `name`."""
    document: dict[str, Value] = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name, "labels": _set(patch, "metadata", "labels")},
        "spec": {"desiredProperties": _set(patch, "spec", "desiredProperties")},
    }
    problems = check_twin(document).problems
    if problems:
        raise InvalidDocument(f"the twin would not be valid with this patch: {problems[0]}", problems)


def desired_names(document: Value) -> list[str]:
    """The desired properties that a document or a patch sets."""
    return list(_set(document, "spec", "desiredProperties"))


def _set(document: Value, outer: str, inner: str) -> dict[str, Value]:
    """The members of `outer.inner` that are not null; none where there is no such object."""
    part = document.get(outer) if isinstance(document, dict) else None
    members = part.get(inner) if isinstance(part, dict) else None
    return {name: value for name, value in members.items() if value is not None} if isinstance(members, dict) else {}
