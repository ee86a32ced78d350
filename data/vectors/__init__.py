"""The table of vectors on disk: written, read, stored in fewer bytes, projected to fewer dimensions."""
