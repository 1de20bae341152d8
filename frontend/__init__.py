"""The process clients talk to: HTTP, routing, supervision. Never imports a native engine."""
