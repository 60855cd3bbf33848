"""No query parameter is ignored: a filter or a time to live that is misspelt would be none at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from twingateway.validation.explain import guess

if TYPE_CHECKING:
    from fastapi.dependencies.models import Dependant

#: What clients send along everywhere; where there are no tenants it says nothing.
_EVERYWHERE = frozenset({"namespace"})


def only_known_parameters(request: Request) -> None:
    """A dependency of every route. Raises RequestValidationError that says what may be meant."""
    route = request.scope["route"]
    if not isinstance(route, APIRoute) or not route.include_in_schema:
        return
    known = _names(route.dependant)
    unknown = [name for name in dict.fromkeys(request.query_params) if name not in known | _EVERYWHERE]
    if unknown:
        meant = {name: guess(name, sorted(known)) for name in unknown}
        raise RequestValidationError(
            [
                {"loc": ("query", name), "msg": f"there is no such parameter{hint}", "type": "unknown"}
                for name, hint in meant.items()
            ]
        )


def _names(dependant: Dependant) -> frozenset[str]:
    own = frozenset(field.alias for field in dependant.query_params)
    return own.union(*map(_names, dependant.dependencies))
