"""Learning from what became of rankings: replay of experience, and values of sequences."""
