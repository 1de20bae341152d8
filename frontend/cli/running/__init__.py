"""The parts of `nacelle run`: a conversation in the terminal."""
