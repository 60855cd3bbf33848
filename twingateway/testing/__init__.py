"""Public fakes and conformance kits; nothing at run time imports it."""
