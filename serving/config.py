"""To be written."""

from data.artifacts import StageConfig


class ServeConfig(StageConfig):
    """To be written."""
