"""Adapters and command groups of installed packages, found by entry point."""
