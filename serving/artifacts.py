"""Where the parts of a release are."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from data.passages.config import ChunkConfig
from data.passages.steps import StepConfig


class LinkArtifacts(BaseModel):
    """Where a run's link model is.

    Attributes:
        graph: output folder of the graph stage.
        train: output folder of the train stage.
        calibrator: file that discovery wrote; None where it has not run.
        projection: what vectors of texts are reduced by where the graph's are; None where they are as they come.
        version: of the model registry; None where it is the run's own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    graph: Path
    train: Path
    calibrator: Path | None = None
    projection: Path | None = None
    version: int | None = None


class CapabilityArtifacts(BaseModel):
    """Where a run's ranker of capabilities is.

    Attributes:
        ranker: folder that ``CapabilityRanker.save`` wrote.
        catalogue: output folder of the catalogue stage, of which features are computed; None without features.
        intents: output folder of the intents stage; None where no vectors are kept.
        traces: digest of the catalogue's tables. A folder is named by how much of the journals was read, and two with
            the same tables answer alike; empty where it is not known.
        version: of the model registry; None where it has none there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ranker: Path
    catalogue: Path | None = None
    intents: Path | None = None
    traces: str = ""
    version: int | None = None

    @property
    def name(self) -> str:
        """What people call it: its version in the registry, or the artifact that it is part of."""
        return f"version {self.version}" if self.version is not None else self.ranker.parent.name


class LiveConfig(BaseModel):
    """What a service needs of a run to take documents.

    Attributes:
        folder: that they are kept in.
        folded: number of the last write that the index has in it.
        limit: most documents beside the index.
        steps: the run's own, that change documents before they are cut.
        chunk: how the run cuts documents.
        late_tokens: most token vectors that the run keeps of a passage.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path
    folded: int = 0
    limit: int
    steps: tuple[StepConfig, ...] = ()
    chunk: ChunkConfig = ChunkConfig()
    late_tokens: int | None = None
