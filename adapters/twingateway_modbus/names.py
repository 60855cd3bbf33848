"""The names of a register's contents, or of its bits, that a model gives where a map says `enum: model`. Pure."""

from __future__ import annotations

from twingateway.adapter import Model, PropertyType
from twingateway.errors import InvalidConfig


def names_in(model: Model, name: str, *, of_bits: bool) -> dict[int, str]:
    """Content → name of an enum, or bit → name of an array of enums. Raises InvalidConfig if the model has none."""
    source = model.properties.get(name)
    part = source.items if source is not None and of_bits else source
    if part is None or part.type is not PropertyType.ENUM:
        wanted = "an array of enums" if of_bits else "an enum"
        raise InvalidConfig(f"{name} takes its names from {model.ref}, where it is not {wanted}")
    texts = [value for value in part.values if isinstance(value, str)]
    if len(texts) < len(part.values):
        raise InvalidConfig(f"{name} takes its names from {model.ref}, where some of its values are no texts")
    return dict(zip(part.codes or range(len(texts)), texts, strict=True))
