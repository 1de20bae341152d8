"""Sound from clients: decoding, voice activity, and the windows that a speech model is given."""
