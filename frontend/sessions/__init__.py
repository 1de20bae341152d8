"""What the server remembers between requests: stored responses and conversations."""
