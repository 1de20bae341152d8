"""State that the server keeps between requests: stored responses and conversations."""
