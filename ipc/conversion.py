"""What both sides of a conversion know: how it reports line by line, and what it can convert."""

NOTE = "note: "  # something that the user should know
FAILURE = "cannot convert "  # why there is no model

# Encoders and Whisper, by the `model_type` of their config.json, and the files that determine the result.
HUGGING_FACE_TYPES = frozenset({"bert", "xlm-roberta", "whisper"})
HUGGING_FACE_FILES = frozenset({"config.json", "tokenizer.json", "model.safetensors"})
GGUF_ARCHITECTURES = ("llama", "qwen2", "qwen3")  # what OpenVINO GenAI builds from GGUF files
