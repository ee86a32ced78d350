"""Token vectors on a real cluster, and search with them: resumed by their files, of the run's own encoder."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.embedding.actor import EmbedPartition
from data.embedding.config import TOKEN_PROJECTION, EmbedConfig, LateConfig
from data.embedding.late import embed_tokens, fit_projection
from data.encoders import load_encoder
from data.encoders.chain import encoder_of_vectors
from data.encoders.config import HashedConfig, HashedEncoderConfig, TransformerConfig
from data.encoders.transformer.token_vectors import TokenEncoder
from data.errors import InputError
from data.partitions import partition_name, partitions, write_partition
from data.passages.chunk import chunk
from data.passages.config import ChunkConfig
from data.passages.text import passage_text
from data.schema import DOCUMENTS
from data.vectors.multivectors import read_multivectors
from data.vectors.projection import Projection
from data.vectors.table import write_manifest
from retrieval.build import build_index
from retrieval.config import IndexConfig
from retrieval.maxsim import maxsim
from retrieval.search import open_retriever

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]
ENCODER = TransformerConfig(precision="fp32", max_length=32, device="cpu")
LATE = LateConfig(dim=48)
SPREAD = EmbedConfig(actors=1)
WORDS = "moon sea harbour sparse matrix inverse verse kernel graph pilot almanac column wind".split()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Passages, their vectors and their token vectors."""
    root = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, size)) for size in rng.integers(1, 30, 40)]
    rows = [{"id": f"d{i}", "title": "", "text": text, "metadata": None} for i, text in enumerate(texts)]
    for folder in ("documents", "vectors", "late"):
        (root / folder).mkdir()
    write_partition(pa.Table.from_pylist(rows, DOCUMENTS), root / "documents" / partition_name(0))
    chunk(root / "documents", ChunkConfig(partition_rows=16), root)
    actor = EmbedPartition(ENCODER, SPREAD.batch_tokens, 2, root / "vectors")  # in this process: not what is tested
    write_manifest([actor(path).partition for path in partitions(root / "passages")], root)
    embed_tokens(root / "passages", root, ENCODER, LATE, SPREAD, root / "late")
    return root


@pytest.fixture(scope="module")
def tokens(run: Path) -> TokenEncoder:
    return TokenEncoder(load_encoder(ENCODER), projection=Projection.load(run / "late" / TOKEN_PROJECTION))


def test_every_passage_has_its_token_vectors(run: Path, tokens: TokenEncoder) -> None:
    manifest = json.loads((run / "late" / "manifest.json").read_text())
    assert manifest["fingerprint"] == json.loads((run / "manifest.json").read_text())["fingerprint"]
    assert manifest["dim"] == 48 and len(partitions(run / "late" / "multivectors")) == 3
    for path in partitions(run / "passages"):
        table = pq.read_table(path).to_pylist()
        expected = tokens.encode([passage_text(row["title"], row["text"]) for row in table])
        (stored,) = read_multivectors(run / "late" / "multivectors" / path.name)
        assert stored.ids == [row["id"] for row in table]
        assert np.array_equal(stored.starts, expected.starts)
        assert np.abs(np.concatenate(stored.each()) - expected.vectors).max() < 1e-3


def test_what_is_done_is_kept(run: Path) -> None:
    late = run / "late"
    gone = late / "multivectors" / partition_name(1)
    before = gone.read_bytes()
    kept = {path.name: path.stat().st_mtime_ns for path in partitions(gone.parent) if path != gone}
    projection = (late / TOKEN_PROJECTION).stat().st_mtime_ns
    gone.unlink()
    (gone.parent / f".{gone.name}.unfinished").write_bytes(b"cut sh")
    result = embed_tokens(run / "passages", run, ENCODER, LATE, SPREAD, late)
    assert result["passages"] == 40 and result["kept_passages"] == 24 and result["tokens"] > 40
    assert result["oom_retries"] == 0
    assert gone.read_bytes() == before and (late / TOKEN_PROJECTION).stat().st_mtime_ns == projection
    assert {path.name: path.stat().st_mtime_ns for path in partitions(gone.parent) if path != gone} == kept
    assert not list(gone.parent.glob(".*"))


def test_search_scores_by_maxsim(run: Path, tokens: TokenEncoder, tmp_path: Path) -> None:
    build_index(run / "documents", run / "passages", run, IndexConfig(), tmp_path, run / "late")
    retriever = open_retriever(tmp_path, ENCODER)
    (hits,) = retriever.search(["sparse matrix by the sea"], mode="late", top_k=5)
    retriever.index.close()
    query = tokens.encode_queries(["sparse matrix by the sea"])
    passages = tokens.encode([hit.text for hit in hits])
    (scores,) = maxsim(query.vectors, query.starts, passages.vectors, passages.starts)
    np.testing.assert_allclose([hit.score for hit in hits], scores, rtol=5e-3)
    assert len(hits) == 5 and list(scores) == sorted(scores, reverse=True)


def test_mode_late_needs_token_vectors(run: Path, tmp_path: Path) -> None:
    build_index(run / "documents", run / "passages", run, IndexConfig(), tmp_path)
    retriever = open_retriever(tmp_path, None)
    with pytest.raises(InputError, match="the index holds no token vectors") as raised:
        retriever.search(["sea"], mode="late")
    assert "late: {}" in raised.value.remedy
    retriever.index.close()


def test_what_does_not_fit_the_vectors_or_the_sample_is_told(run: Path, tmp_path: Path) -> None:
    other = TransformerConfig(precision="fp32", max_length=64, device="cpu")
    with pytest.raises(InputError, match="is expected: their vectors cannot be compared"):
        fit_projection(run / "passages", encoder_of_vectors(run, other), LATE, 2048, 2, tmp_path)
    with pytest.raises(InputError, match=r"late.dim: 385 is more than .* have \(384\)"):
        fit_projection(run / "passages", ENCODER, LateConfig(dim=385), 2048, 2, tmp_path)
    with pytest.raises(InputError, match="needs at least as many tokens, the sample has"):
        fit_projection(run / "passages", ENCODER, LateConfig(dim=300, sample_passages=1), 2048, 2, tmp_path)
    with pytest.raises(InputError, match=r"encoder.hashed.*not those of its tokens"):
        embed_tokens(run / "passages", run, HashedEncoderConfig(hashed=HashedConfig(dim=64)), LATE, SPREAD, tmp_path)
