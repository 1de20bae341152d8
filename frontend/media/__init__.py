"""Images that requests carry or name by URL: their bytes are obtained here, and decoded in hosts."""
