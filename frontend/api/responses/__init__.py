"""/v1/responses: from input items to messages, and from a model's outputs to output items."""
