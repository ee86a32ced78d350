"""Count what a corpus is made of: documents, passages, words or tokens, and the scripts its text is written in."""

import sys
from pathlib import Path

from data import words
from data.artifacts import StageConfig, StageResult
from data.encoders.config import EncoderConfig
from data.encoders.files import contents
from ray_apps.command import stage_command
from ray_apps.plan import Inputs, Stage


class StatsConfig(StageConfig):
    """What decides the counts: whose tokens are counted."""

    encoder: EncoderConfig


class StatsResult(StageResult):
    """Counts of a corpus; ``scripts`` are shares of its letters, most first, ``tokens`` those of the run's encoder."""

    documents: int
    passages: int
    characters: int
    tokens: int
    tokens_median: float
    tokens_p95: float
    tokens_max: int
    scripts: dict[str, float]  # letters that several scripts share, such as the Japanese ー, count as other


def _count(config: StatsConfig, inputs: Inputs, out: Path) -> StatsResult:
    from data.encoders.transformer.token_starts import token_starts
    from data.passages.statistics import count_corpus

    counted = count_corpus(inputs["passages"].path / "passages", token_starts(config.encoder))
    return StatsResult.model_validate({"documents": inputs["passages"].result["documents"], **counted})


STATS = Stage(
    name="stats",
    result=StatsResult,
    config=lambda plan: StatsConfig(encoder=plan.run.encoder),
    make=_count,
    needs=lambda plan: {"passages": "chunk"},
    wanted=lambda plan: False,
    stamps=lambda config: {"files": contents(config.encoder), "words": words.VERSION},
)
COMMAND = stage_command(
    "stats",
    "stats",
    "count documents, passages, tokens and scripts of the corpus",
    sections=("source", "steps", "chunk", "encoder"),
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["stats", *sys.argv[1:]]))
