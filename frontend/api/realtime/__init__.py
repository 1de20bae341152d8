"""GET /v1/realtime: transcription over a WebSocket, as OpenAI's transcription sessions have it."""
