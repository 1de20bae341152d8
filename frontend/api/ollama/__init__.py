"""Ollama's API under /api/: another reader of requests and writer of answers around the same work."""
