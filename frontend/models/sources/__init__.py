"""Where models come from: the catalogue's packages, model hubs, URLs, and whatever fsspec reaches."""
