"""The built-in corpus: docstrings of installed packages and their See Also links."""
