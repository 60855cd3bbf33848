"""Other projects' descriptions of devices, turned into profiles."""
