"""The only meeting place of twins, sessions, adapters and store."""
