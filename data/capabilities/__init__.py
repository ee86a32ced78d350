"""Tools, the capabilities that use them, and traces of what was run: checked over all of it, and as arrays."""
