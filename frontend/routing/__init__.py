"""From an accepted request to the replica that serves it, and back."""
