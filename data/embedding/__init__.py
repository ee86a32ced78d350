"""Passages to vectors: workers, their pool, fallbacks, reduction, token vectors."""
