"""Kokoro, a model that speaks: its voices and languages, and what computes it."""
