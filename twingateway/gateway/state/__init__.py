"""What a node knows: its registers in memory, how a change becomes durable, and who is told."""
