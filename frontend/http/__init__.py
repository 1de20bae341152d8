"""HTTP outside the API framework: the server, its connections, and the layers that every request passes."""
