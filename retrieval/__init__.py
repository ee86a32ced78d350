"""Search: the index and its engines, how it is filled, and the steps from a question to an answer."""
