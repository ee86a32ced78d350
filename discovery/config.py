"""To be written."""

from data.artifacts import StageConfig


class DiscoverConfig(StageConfig):
    """To be written."""
