"""Certificates: making them, proving a node's name with one, checking a proof."""
