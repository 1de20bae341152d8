"""What the frontend and the engine hosts share: messages, sockets, shared memory. Imports neither side."""
