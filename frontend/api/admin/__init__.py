"""Administration of the server while it runs."""
