"""Passages to vectors on Ray Data: actors, their pool, fallbacks, reduction, token vectors."""
