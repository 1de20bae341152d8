"""The files for running the server as a service."""
