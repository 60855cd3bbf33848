"""Connections over QUIC; the only importer of aioquic."""
