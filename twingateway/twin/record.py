"""Records that are made by the ten thousand a second: registers, and what is said about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def record(cls: type[T]) -> type[T]:
    """A dataclass with slots that nobody changes: type checkers refuse it. It is not frozen at run time, since that
    makes its making four times as slow."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
