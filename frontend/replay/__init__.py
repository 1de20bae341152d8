"""Answers produced once and read by several requests: the response cache, coalesced requests and retries."""
