"""`nacelle doctor`: facts about this machine (`collect`), and what they mean (`checks`, pure)."""
