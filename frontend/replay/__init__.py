"""Answers that are made once, kept, and read by several requests: the response cache, twins, and retries."""
