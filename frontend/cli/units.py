"""Units in which sizes are shown."""

MEGABYTE = 1_000_000
