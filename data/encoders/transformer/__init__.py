"""sentence-transformers models: found, tokenised, computed in batches by padded token area, and self-tested."""
