"""How a conversion reports to whoever runs it, line by line: what its lines begin with if they matter."""

NOTE = "note: "  # something that the user should know
FAILURE = "cannot convert "  # why there is no model
