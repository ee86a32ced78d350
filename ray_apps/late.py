"""Turn the passages of a run into the vectors of their tokens, for search mode late."""

import sys
from pathlib import Path
from typing import ClassVar

from data.artifacts import StageConfig, StageResult
from data.embedding.config import EmbedConfig, LateConfig
from data.encoders.config import EncoderConfig
from data.errors import StageAbsent
from ray_apps.command import stage_command
from ray_apps.encoder.finetune import finetuned_encoder, finetuned_needs
from ray_apps.plan import Inputs, Plan, Stage


class TokensConfig(StageConfig):
    """What decides the vectors of tokens; the encoder is the one that made the passages' vectors."""

    execution: ClassVar[frozenset[str]] = frozenset({"embed"})

    late: LateConfig
    encoder: EncoderConfig
    embed: EmbedConfig


class LateResult(StageResult):
    """What was embedded, how fast, and what it takes on disk."""

    passages: int
    kept_passages: int
    tokens: int
    oom_retries: int
    dim: int
    storage: str
    bytes_per_passage: int
    passages_per_s: float


def _absent(plan: Plan) -> StageAbsent | None:
    if plan.run.late is not None:
        return None
    return StageAbsent("the run file has no section `late`", "Add `late: {}` to it, or --late.dim 96 to the command.")


def _check(config: TokensConfig) -> None:
    from data.encoders.transformer.token_vectors import refuse_without_tokens

    refuse_without_tokens(config.encoder)


def _embed_tokens(config: TokensConfig, inputs: Inputs, out: Path) -> LateResult:
    from data.embedding.late import embed_tokens

    passages, embedded = inputs["passages"].path / "passages", inputs["embedded"].path
    encoder = finetuned_encoder(config.encoder, inputs)
    made = embed_tokens(passages, embedded, encoder, config.late, config.embed, out)
    return LateResult.model_validate(made)


LATE = Stage(
    name="late",
    result=LateResult,
    config=lambda plan: TokensConfig(late=plan.run.late or LateConfig(), encoder=plan.encoder, embed=plan.run.embed),
    make=_embed_tokens,
    needs=lambda plan: {"passages": "chunk", "embedded": "embed", **finetuned_needs(plan)},
    wanted=lambda plan: plan.run.late is not None,
    absent=_absent,
    check=_check,
    on_ray=True,
)
COMMAND = stage_command(
    "late",
    "late",
    "passages to the vectors of their tokens, for search mode late, on Ray Data",
    sections=("source", "steps", "chunk", "encoder", "embed", "late"),
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["late", *sys.argv[1:]]))
