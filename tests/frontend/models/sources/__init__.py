"""Sources of models: transfers, hubs, URLs, archives, and what fsspec reaches."""
