"""What the gateway asks of a link and of a store, with an in-memory one of each."""
