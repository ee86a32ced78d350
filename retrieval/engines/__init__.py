"""The engines behind ``retrieval.index.VectorIndex``: Qdrant in process (``edge``) and on a server."""
