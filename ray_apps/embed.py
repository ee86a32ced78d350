"""Turn the passages of a run into vectors."""

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from data.artifacts import Artifact, StageConfig, StageResult
from data.cache import CacheConfig
from data.embedding.config import EmbedConfig
from data.encoders.config import EncoderConfig
from data.encoders.files import contents
from ray_apps import remote
from ray_apps.command import stage_command
from ray_apps.encoder.check import encoder_needs, encoder_permits, ready_encoder
from ray_apps.ingest import no_texts
from ray_apps.plan import Inputs, Plan, Stage

logger = logging.getLogger("catena")


class VectorsConfig(StageConfig):
    """What decides the vectors of passages."""

    execution: ClassVar[frozenset[str]] = frozenset({"cache"})

    encoder: EncoderConfig
    embed: EmbedConfig
    cache: CacheConfig


class EmbedResult(StageResult):
    """What was embedded, how fast, and by which encoder; ``data.embedding.embed.embed`` says what each figure is."""

    documents: int
    passages: int
    tokens: int
    truncated: int
    dropped_tokens: int
    oom_retries: int
    kept_passages: int
    documents_per_s: float
    passages_per_s: float
    tokens_per_s: float
    padding_share: float
    startup_seconds: float
    precision: str
    cosine_to_fp32: float
    fingerprint: str
    dim: int
    encoder: str
    link: int
    fallbacks: str
    scripts: dict[str, Any] = Field(default_factory=dict)
    cache: dict[str, dict[str, float]] | None = None
    copied_passages: int | None = None


def _needs(plan: Plan) -> Mapping[str, str]:
    return {"passages": "chunk", **encoder_needs(plan)}


def _config(plan: Plan) -> VectorsConfig:
    return VectorsConfig(
        encoder=plan.encoder, embed=plan.run.embed, cache=plan.run.cache.in_workspace(plan.run.workspace)
    )


def _check(config: VectorsConfig) -> None:
    from data.encoders import check_model

    check_model(config.encoder)


def _embed(config: VectorsConfig, inputs: Inputs, out: Path) -> EmbedResult:
    from data.embedding.fallback import embed_chain

    passages, encoder = inputs["passages"].path / "passages", ready_encoder(config.encoder, inputs)
    made: dict[str, Any] = embed_chain(passages, encoder, config.embed, out, config.cache)
    return EmbedResult.model_validate(made)


def _log_fallback(config: VectorsConfig, made: Artifact) -> None:
    if made.result.get("link"):
        logger.info(
            "embed: using vectors of %s (fallback); delete %s to retry the first encoder",
            made.result["encoder"],
            made.path,
        )


EMBED = Stage(
    name="embed",
    result=EmbedResult,
    config=_config,
    make=_embed,
    needs=_needs,
    permits=encoder_permits,
    absent=no_texts,
    stamps=lambda config: {"files": contents(config.encoder)},
    check=_check,
    reuse=_log_fallback,
    on_ray=True,
)
COMMAND = stage_command(
    "embed",
    "embed",
    "passages to vectors, on Ray Data; with --url, texts by a service",
    sections=("source", "steps", "chunk", "encoder", "embed", "cache"),
    remote=remote.EMBED,
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["embed", *sys.argv[1:]]))
