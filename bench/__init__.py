"""Benchmarks: any OpenAI server, the raw pipeline, and what Nacelle adds to it."""
