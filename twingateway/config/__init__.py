"""Node and device files: their shape, and every problem of them with file, line and path."""
