"""Embeddings and reranking: everything that the two engines share."""
