"""Read a corpus into tables, apply the user's own steps to its documents, and cut these into passages."""

import sys
from pathlib import Path
from typing import Any

import data.passages.chunk
import data.passages.document_steps
import data.sources.ingest
from data.artifacts import Artifact, locate, materialise
from data.embedding.fallback import embed_chain
from data.encoders import check_model
from data.encoders.exact import exact_form
from data.encoders.transformer.token_starts import token_starts
from data.passages.chunk_semantic import chunk_semantic
from data.sources.resolve import strict_error
from ray_apps.cluster import connect
from ray_apps.config import RunConfig
from ray_apps.stages import artifact


def ingest(run: RunConfig) -> Artifact:
    """Documents, links, queries, qrels and rejects of the run's source.

    Raises:
        InputError: if the source cannot be read, or a row was rejected in a strict run.
    """
    tables = artifact(run, "ingest")
    if not tables.done:
        connect(run.ray)
        materialise(tables, lambda out: data.sources.ingest.ingest(run.source, out))
    elif run.source.strict and tables.result["rejects"]:  # made by a run that was not strict
        raise strict_error(data.sources.ingest.first_reject(tables.path / "rejects"))
    return tables


def documents(run: RunConfig) -> Path:
    """The documents table: the source's, or where the run has steps of its own, what they made of it.

    Raises:
        InputError: if a step cannot be found or fails.
    """
    if not run.steps:
        return ingest(run).path / "documents"
    stepped = artifact(run, "steps")
    if not stepped.done:
        read = ingest(run).path / "documents"
        connect(run.ray)
        materialise(stepped, lambda out: data.passages.document_steps.run_steps(read, run.steps, out))
    return stepped.path / "documents"


def chunk(run: RunConfig) -> Artifact:
    """Passages of the run's documents.

    Raises:
        InputError: if the strategy needs the run's encoder and there is none, or it has no tokenizer.
    """
    passages = artifact(run, "chunk")
    if passages.done:
        return passages
    if run.chunk.needs_encoder:
        check_model(run.encoder)  # before minutes go into a corpus
    table = documents(run)
    return materialise(passages, lambda out: _cut(run, table, out))


def _cut(run: RunConfig, table: Path, out: Path) -> dict[str, Any]:
    if run.chunk.strategy == "semantic":
        connect(run.ray)
        encoder = exact_form(run.encoder)  # cuts are the same whatever form the passages are embedded in
        cache = run.cache.at(run.workspace)
        kept = locate(run.workspace, "sentences", {}, [artifact(run, "chunk")]) if cache.stored else None
        spread = run.embed.model_copy(update={"storage": "float32"})  # what is rounded is neither kept nor cut by
        return chunk_semantic(
            table, run.chunk, lambda texts, folder: embed_chain(texts, encoder, spread, folder, cache), out, kept
        )
    starts = token_starts(run.encoder) if run.chunk.strategy == "fixed" else None
    return data.passages.chunk.chunk(table, run.chunk, out, starts)


if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["ingest", *sys.argv[1:]]))
