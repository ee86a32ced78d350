"""Cut the documents of a run into passages; where they part by meaning, embed their sentences first."""

from pathlib import Path
from typing import Any, ClassVar

from data import words
from data.artifacts import StageConfig, StageResult
from data.cache import CacheConfig
from data.embedding.config import EmbedConfig
from data.encoders.config import EncoderConfig
from data.encoders.files import contents
from data.encoders.reference import reference_form
from data.errors import StageAbsent
from data.passages.config import ChunkConfig
from data.spread import Runner, on_ray
from ray_apps.ingest import no_texts
from ray_apps.plan import Inputs, Plan, Stage


class SentencesConfig(StageConfig):
    """What decides the vectors of sentences: the precision of the passages does not, so it does not change the cuts."""

    execution: ClassVar[frozenset[str]] = frozenset({"embed", "cache"})

    chunk: ChunkConfig
    encoder: EncoderConfig
    embed: EmbedConfig
    cache: CacheConfig


class SentencesResult(StageResult):
    """Sentences that were embedded, those among them whose vectors were copied, and the encoder that made the rest."""

    sentences: int
    copied_sentences: int = 0
    encoder: str = ""
    link: int = 0
    fallbacks: str = ""


class CutConfig(StageConfig):
    """What decides the passages; ``encoder`` where its tokens are counted."""

    chunk: ChunkConfig
    encoder: EncoderConfig | None = None


class ChunkResult(StageResult):
    """Documents, and the passages they were cut into; ``parents`` with strategy hierarchical."""

    documents: int
    passages: int
    partitions: int
    longest_chars: int
    parents: int | None = None


def embed_sentences(config: SentencesConfig, inputs: Inputs, out: Path, runner: Runner = on_ray) -> SentencesResult:
    """Write the sentences of every document and embed them; the stage ``sentences``.

    Args:
        config: how documents are cut, and the encoder.
        inputs: ``documents``.
        out: the artifact's folder.
        runner: spreads the work.
    """
    from data.embedding.fallback import embed_chain
    from data.passages.chunk_semantic import write_sentences

    count = write_sentences(inputs["documents"].path / "documents", config.chunk, out)
    if not count:
        return SentencesResult(sentences=0)
    made: dict[str, Any] = embed_chain(out / "passages", config.encoder, config.embed, out, config.cache, runner)
    kept = {key: made[key] for key in ("encoder", "link", "fallbacks")}
    return SentencesResult(sentences=count, copied_sentences=made.get("copied_passages", 0), **kept)


def _cut(config: CutConfig, inputs: Inputs, out: Path) -> ChunkResult:
    documents = inputs["documents"].path / "documents"
    if config.chunk.strategy == "semantic":
        from data.passages.chunk_semantic import chunk_semantic

        return ChunkResult.model_validate(chunk_semantic(documents, inputs["sentences"].path, config.chunk, out))
    from data.encoders.transformer.token_starts import token_starts
    from data.passages.chunk import chunk

    starts = token_starts(config.encoder) if config.encoder is not None else None
    return ChunkResult.model_validate(chunk(documents, config.chunk, out, starts))


def _check(config: CutConfig | SentencesConfig) -> None:
    from data.encoders import check_model

    if config.encoder is not None:
        check_model(config.encoder)


def _cut_stamps(config: CutConfig) -> dict[str, Any]:
    if config.encoder is None:
        return {}
    return {"files": contents(config.encoder), "words": words.VERSION}  # an encoder without tokens has words counted


def _not_semantic(plan: Plan) -> StageAbsent | None:
    if plan.run.chunk.strategy == "semantic":
        return None
    return StageAbsent(f"chunk.strategy {plan.run.chunk.strategy} embeds no sentences", "Set chunk.strategy: semantic.")


def _needs(plan: Plan) -> dict[str, str]:
    needs = {"documents": plan.documents}
    return {**needs, "sentences": "sentences"} if plan.run.chunk.strategy == "semantic" else needs


def _sentences_config(plan: Plan) -> SentencesConfig:
    embed = plan.run.embed.model_copy(update={"storage": "float32"})  # rounded vectors are neither kept nor cut by
    cache = plan.run.cache.in_workspace(plan.run.workspace)
    return SentencesConfig(chunk=plan.run.chunk, encoder=reference_form(plan.run.encoder), embed=embed, cache=cache)


SENTENCES = Stage(
    name="sentences",
    result=SentencesResult,
    config=_sentences_config,
    make=embed_sentences,
    needs=lambda plan: {"documents": plan.documents},
    wanted=lambda plan: plan.run.chunk.strategy == "semantic",
    absent=_not_semantic,
    stamps=lambda config: {"files": contents(config.encoder)},
    check=_check,
    on_ray=True,
)
CHUNK = Stage(
    name="chunk",
    result=ChunkResult,
    config=lambda plan: CutConfig(
        chunk=plan.run.chunk, encoder=reference_form(plan.run.encoder) if plan.run.chunk.strategy == "fixed" else None
    ),
    make=_cut,
    needs=_needs,
    absent=no_texts,
    stamps=_cut_stamps,
    check=_check,
)
