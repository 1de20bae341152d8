"""What both sides of a conversion know: how it reports line by line, and what it can convert."""

NOTE = "note: "  # something that the user should know
FAILURE = "cannot convert "  # why there is no model

GGUF_ARCHITECTURES = ("llama", "qwen2", "qwen3")  # what OpenVINO GenAI builds from GGUF files
