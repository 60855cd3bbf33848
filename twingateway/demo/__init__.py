"""The demonstration: simulated sites, an edge and a cloud as processes, a bad link between them, and a proof."""
