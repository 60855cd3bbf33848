"""The commands; what they do lives elsewhere."""
