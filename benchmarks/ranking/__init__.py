"""Ranking of capabilities from feedback: quality, what few outcomes are worth, logs of a biased policy, and speed."""
