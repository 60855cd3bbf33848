"""Replication without I/O: registers over a lossy link."""
