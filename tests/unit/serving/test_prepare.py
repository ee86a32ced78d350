"""Documents that are put are changed, cut and embedded as the run's own stages do it."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data.encoders import load_encoder
from data.encoders.config import TransformerConfig, read_encoder
from data.encoders.transformer.token_starts import token_starts
from data.metadata import write_metadata
from data.partitions import partition_name, read_table, write_partition
from data.passages.chunk import chunk
from data.passages.chunk_semantic import chunk_semantic, write_sentences
from data.passages.config import ChunkConfig
from data.passages.document_steps import run_steps
from data.passages.steps import StepConfig
from data.passages.text import passage_text
from data.schema import DOCUMENTS
from data.spread import Here
from retrieval.config import IndexConfig
from retrieval.index import IndexMeta
from retrieval.terms import TermCounts
from serving.artifacts import LiveConfig
from serving.config import ServeConfig
from serving.embedder import Embedder
from serving.errors import ApiError
from serving.live import LiveDocuments, form_of
from serving.live_rows import PreparedDocument
from serving.lookup import LookupFile
from serving.prepare import Preparer
from serving.schemas.documents import NewDocument
from tests.unit.serving.whole_application import write_whole_run

DIM = 32
ENCODER = read_encoder({"hashed": {"dim": DIM}})
SENTENCES = ["The sea is calm.", "A ship lies at anchor.", "Matrices are inverted.", "Rows are pivoted first."]
TEXTS = [
    *(" ".join(SENTENCES[n % 4] for n in range(start, start + 9)) for start in range(4)),
    "short",
    "",
    "   ",
    "ein Wort\n\n" * 30,
]
STRATEGIES = {
    "recursive": ChunkConfig(max_chars=80, overlap_chars=10),
    "without titles": ChunkConfig(max_chars=80, overlap_chars=10, with_title=False),
    "whole": ChunkConfig(max_chars=None, overlap_chars=0),
    "fixed": ChunkConfig(strategy="fixed", max_tokens=12, overlap_tokens=3),
    "semantic": ChunkConfig(strategy="semantic", max_chars=90, min_chars=20),
    "hierarchical": ChunkConfig(strategy="hierarchical", max_chars=60, overlap_chars=10, parent_chars=150),
}
META = IndexMeta(
    config=IndexConfig(),
    location="",
    points=1,
    dim=DIM,
    encoder=load_encoder(ENCODER).fingerprint,
    precision="fp32",
    mean_length=5.0,
    filter_keys=(),
)


def shout(document: dict[str, Any]) -> dict[str, Any]:
    """A step of a run."""
    if "refuse" in document["text"]:
        raise ValueError("not this one")
    metadata = {**document["metadata"], "length": len(document["text"])}
    return {**document, "text": document["text"].upper(), "metadata": metadata}


STEPS = (StepConfig(path=f"{__name__}:shout"),)


def documents_table(folder: Path) -> list[NewDocument]:
    """Documents as requests bring them, and the same as a table in the folder."""
    new = [
        NewDocument(id=f"d{n}", title=f"title {n}", text=text, metadata={"n": n, "gone": None})
        for n, text in enumerate(TEXTS)
    ]
    rows = [
        {"id": one.id, "title": one.title, "text": one.text, "metadata": write_metadata({"n": n})}
        for n, one in enumerate(new)
    ]
    folder.mkdir(parents=True)
    write_partition(pa.Table.from_pylist(rows, DOCUMENTS), folder / partition_name(0))
    return new


def prepare(new: list[NewDocument], config: LiveConfig) -> list[PreparedDocument]:
    embedder = Embedder(ENCODER, META, ServeConfig())
    return asyncio.run(Preparer(config, TransformerConfig(), META, embedder).prepare(new))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_passages_and_vectors_are_those_of_the_stages(tmp_path: Path, strategy: str) -> None:
    new, config = documents_table(tmp_path / "documents"), STRATEGIES[strategy]
    encoder = load_encoder(ENCODER)
    if strategy == "semantic":
        assert write_sentences(tmp_path / "documents", config, tmp_path / "sentences")
        sentences = read_table(tmp_path / "sentences" / "passages", ["id", "text"])
        vectors = pa.FixedSizeListArray.from_arrays(encoder.encode(sentences["text"].to_pylist()).ravel(), DIM)
        (tmp_path / "sentences" / "vectors").mkdir()
        write_partition(
            pa.table({"id": sentences["id"], "vector": vectors}), tmp_path / "sentences" / "vectors" / partition_name(0)
        )
        chunk_semantic(tmp_path / "documents", tmp_path / "sentences", config, tmp_path)
    else:
        starts = token_starts(TransformerConfig()) if strategy == "fixed" else None
        chunk(tmp_path / "documents", config, tmp_path, starts)
    expected = read_table(tmp_path / "passages").to_pylist()

    live = LiveConfig(folder=tmp_path / "live", limit=99, chunk=config)
    made = prepare(new, live)
    write_whole_run(tmp_path / "whole")
    counts = TermCounts()
    counts.write(tmp_path)
    owner = LiveDocuments(Nothing(), META, tmp_path, LookupFile(tmp_path / "whole"), live)  # type: ignore[arg-type]
    passages = [passage for document in made for passage in owner._passages(document)]
    owner.close()
    shown = [(p.id, p.document_id, p.start, p.end, p.text, None if p.parent is None else p.parent.id) for p in passages]
    names = ("id", "document_id", "start", "end", "text", "parent_id")
    assert shown == [tuple(row[name] for name in names) for row in expected]
    assert strategy != "hierarchical" or any(parent for *_, parent in shown)
    assert len(shown) > len(new) or strategy == "whole"
    texts = [passage_text(row["title"], row["text"]) for row in expected]
    np.testing.assert_allclose(np.stack([p.vector for p in passages]), encoder.encode(texts), atol=1e-6)
    if strategy == "hierarchical":
        parents = {row["id"]: row["text"] for row in read_table(tmp_path / "parents").to_pylist()}
        assert {p.parent.id: p.parent.text for p in passages if p.parent} == parents


class Nothing:
    """An index that is not asked."""

    def close(self) -> None:
        """Nothing is open."""


def test_the_runs_own_steps_change_what_is_put(tmp_path: Path) -> None:
    new = documents_table(tmp_path / "documents")
    run_steps(tmp_path / "documents", STEPS, tmp_path / "changed", Here())
    expected = read_table(tmp_path / "changed" / "documents").to_pylist()
    made = prepare(new, LiveConfig(folder=tmp_path, limit=9, steps=STEPS))
    changed = [(one.id, one.title, one.text, write_metadata(one.metadata)) for one in made]
    assert changed == [(row["id"], row["title"], row["text"], row["metadata"]) for row in expected]
    assert [one.source["text"] for one in made] == TEXTS  # what was put is kept for the next index, whose steps it has
    assert made[0].source["metadata"] == {"n": 0}


def test_a_step_that_fails_on_a_document_names_both(tmp_path: Path) -> None:
    given = [NewDocument(id="fine", text="fine"), NewDocument(id="bad", text="refuse this")]
    with pytest.raises(ApiError, match=r"step .*:shout failed on document 'bad': ValueError: not this one"):
        prepare(given, LiveConfig(folder=tmp_path, limit=9, steps=STEPS))


def test_times_are_kept_in_utc(tmp_path: Path) -> None:
    given = [
        NewDocument.model_validate_json(json.dumps({"id": str(n), "text": "t", "time": time}))
        for n, time in enumerate(["2024-01-02T03:00:00+02:00", "2024-01-02T01:00:00", "2024-01-02"])
    ]
    kept = [one.source["time"] for one in prepare(given, LiveConfig(folder=tmp_path, limit=9))]
    assert kept == ["2024-01-02T01:00:00+00:00"] * 2 + [datetime(2024, 1, 2, tzinfo=UTC).isoformat()]


def test_the_form_is_that_of_all_that_decides_passages(tmp_path: Path) -> None:
    config = LiveConfig(folder=tmp_path, limit=9)
    others = [
        form_of(config.model_copy(update={"chunk": STRATEGIES["whole"]}), META),
        form_of(config.model_copy(update={"steps": STEPS}), META),
        form_of(config, META.model_copy(update={"encoder": "another"})),
        form_of(config, META.model_copy(update={"late_dim": 8})),
    ]
    assert len({form_of(config, META), *others}) == 5
    same = config.model_copy(update={"folder": Path("elsewhere"), "limit": 1, "folded": 7})
    assert form_of(same, META) == form_of(config, META)
