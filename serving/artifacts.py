"""Where the parts of a release are."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict


class LinkArtifacts(BaseModel):
    """Where a run's link model is.

    Attributes:
        graph: output folder of the graph stage.
        train: output folder of the train stage.
        calibrator: file that discovery wrote; None where it has not run.
        projection: what vectors of texts are reduced by where the graph's are; None where they are as they come.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    graph: Path
    train: Path
    calibrator: Path | None = None
    projection: Path | None = None
