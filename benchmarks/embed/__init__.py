"""Embedding beside its peers: `catena bench embed`."""
