"""Vectors of documents from the links alone."""
