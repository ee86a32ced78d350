"""To be written."""

from data.artifacts import StageConfig


class TrainConfig(StageConfig):
    """To be written."""
