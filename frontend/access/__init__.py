"""Who may use the server: API keys, tokens of other services, and which models they may see."""
