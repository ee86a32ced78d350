"""What an evaluation gives, of search or of links."""

from typing import Any

from data.artifacts import StageResult


class JudgedResult(StageResult):
    """Figures by method, and what they were measured on."""

    figures: dict[str, dict[str, float]]
    details: dict[str, Any]
