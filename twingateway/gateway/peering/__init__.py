"""The other nodes: links to them, sessions on those, and what each may write and gets to see."""
