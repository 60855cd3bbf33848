"""The devices of this node: their drivers run, their values reported, their desired values carried to them."""
