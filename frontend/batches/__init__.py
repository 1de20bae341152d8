"""Files that clients store, and batches of requests that are answered while nobody waits."""
