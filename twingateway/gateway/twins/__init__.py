"""What clients read and write: twins as documents, patches, overrides and what the root makes of them."""
