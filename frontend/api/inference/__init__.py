"""POST /v1/inference_sse, for clients of FabricAI's inference server."""
