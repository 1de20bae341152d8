"""What `nacelle launch` knows of coding agents, and how their configuration files are changed."""
