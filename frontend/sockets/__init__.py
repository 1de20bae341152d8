"""Socket.IO on the server's port: prompts in, tokens out, sessions that several clients follow."""
