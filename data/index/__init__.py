"""To be written."""

from data.artifacts import StageConfig


class IndexConfig(StageConfig):
    """To be written."""
