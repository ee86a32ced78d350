"""To be written."""

from data.artifacts import StageConfig


class ChunkConfig(StageConfig):
    """To be written."""
