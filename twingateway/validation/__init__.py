"""Values against models, and documents against their schemas."""
