"""The HTTP surface: one module per OpenAI area."""
