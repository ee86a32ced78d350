"""To be written."""

from data.artifacts import StageConfig


class SourceConfig(StageConfig):
    """To be written."""


def fingerprint(config: SourceConfig) -> dict[str, str]:
    """To be written."""
    return {}
