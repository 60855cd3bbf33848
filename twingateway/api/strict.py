"""No query parameter is ignored: a filter or a time to live that is misspelt would be none at all, and of one that is
given twice only the last would count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args, get_origin

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from twingateway.validation.explain import guess

if TYPE_CHECKING:
    from fastapi.dependencies.models import Dependant

#: What clients send along everywhere; where there are no tenants it says nothing.
_EVERYWHERE = frozenset({"namespace"})


def only_known_parameters(request: Request) -> None:
    """A dependency of every route. Raises RequestValidationError that names them, and says what may be meant."""
    route = request.scope["route"]
    if not isinstance(route, APIRoute) or not route.include_in_schema:
        return
    known = _parameters(route.dependant)
    found: list[dict[str, Any]] = []
    for name in request.query_params:
        if name not in known and name not in _EVERYWHERE:
            hint = guess(name, sorted(known))
            found.append({"loc": ("query", name), "msg": f"there is no such parameter{hint}", "type": "unknown"})
        elif len(request.query_params.getlist(name)) > 1 and not known.get(name):
            found.append({"loc": ("query", name), "msg": "this is given more than once", "type": "repeated"})
    if found:
        raise RequestValidationError(found)


def _parameters(dependant: Dependant) -> dict[str, bool]:
    """Which there are, and whether each may be given more than once."""
    own = {field.alias: _takes_several(field.field_info.annotation) for field in dependant.query_params}
    for inner in dependant.dependencies:
        own |= _parameters(inner)
    return own


def _takes_several(annotation: Any) -> bool:
    return any(get_origin(each) in (list, frozenset) for each in (annotation, *get_args(annotation)))
