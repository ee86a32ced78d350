"""Embeddings from an OpenAI-compatible server, with retries."""
