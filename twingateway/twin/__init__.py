"""Twins as pure data: documents, models, registers, versions, patches, presence."""
