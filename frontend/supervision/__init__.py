"""Engine host processes: starting, watching, replacing and stopping them."""
