"""To be written."""

from data.artifacts import StageConfig


class EvaluateConfig(StageConfig):
    """To be written."""
