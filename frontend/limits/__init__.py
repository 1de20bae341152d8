"""Limits per caller and for the whole server: requests and tokens per minute, and concurrent requests."""
