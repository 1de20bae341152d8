"""New settings for a running server: what changes, and how it is carried out without dropping a request."""
