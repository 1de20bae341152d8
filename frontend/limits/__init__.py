"""What callers and all of them together may use: requests and tokens per minute, and requests at a time."""
