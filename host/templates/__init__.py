"""Chat templates: from messages to the text of a prompt, of which nothing is lost."""
