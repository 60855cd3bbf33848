"""The JSON Schemas (2020-12) of every kind of document, as package data."""

from twingateway_schemas.load import load

__all__ = ["load"]
