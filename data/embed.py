"""To be written."""

from data.artifacts import StageConfig


class EmbedConfig(StageConfig):
    """To be written."""
