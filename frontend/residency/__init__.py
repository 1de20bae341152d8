"""Which models are loaded: a pure policy, what it knows of memory, and the object that carries it out."""
