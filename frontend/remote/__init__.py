"""Models on other servers: other Nacelles as replicas, any OpenAI-compatible server as a proxy."""
