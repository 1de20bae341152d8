"""Benchmarks of any OpenAI server, of the raw pipeline, and of the overhead that Nacelle adds."""
