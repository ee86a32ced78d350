"""A result of whatever a test's stage measures."""

from pydantic import ConfigDict

from data.artifacts import StageResult


class AnyResult(StageResult):
    """Takes any fields."""

    model_config = ConfigDict(extra="allow", frozen=True)
