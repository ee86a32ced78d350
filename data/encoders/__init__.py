"""To be written."""

from data.artifacts import StageConfig


class EncoderConfig(StageConfig):
    """To be written."""
