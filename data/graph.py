"""To be written."""

from data.artifacts import StageConfig


class GraphConfig(StageConfig):
    """To be written."""
