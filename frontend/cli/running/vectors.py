"""What `nacelle run` prints for a model that computes embeddings: the vector of the text, as JSON."""

from frontend.cli.client import Client, Refused, segment


def vector_of(client: Client, model: str, text: str) -> list[float] | None:
    """None if the model does something else, or if this client may not know."""
    try:
        if client.get(f"/admin/models/{segment(model)}")["engine"] != "embeddings":
            return None
        answer = client.post("/v1/embeddings", {"model": model, "input": text})
    except Refused:
        return None
    vector: list[float] = answer["data"][0]["embedding"]
    return vector
