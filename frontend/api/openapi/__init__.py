"""The description of the API: what areas state beside their responders, and the document made of it."""
