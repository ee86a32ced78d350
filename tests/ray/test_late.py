"""Token vectors on a real cluster, and search with them: resumed by their files, of the run's own encoder."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data.late.projection import PROJECTION, Projection

from data.chunking import ChunkConfig, chunk, passage_text
from data.embed import EmbedConfig, embed
from data.encoders import EncoderConfig, load_encoder
from data.encoders.tokens import TokenEncoder
from data.errors import InputError
from data.index import IndexConfig
from data.index.build import build_index
from data.late import LateConfig
from data.late.embed import embed_tokens
from data.late.multivectors import read_multivectors
from data.maxsim import maxsim
from data.retrieval import open_retriever
from data.schema import DOCUMENTS, partition_name, partitions, write_partition
from ray_apps.failures import input_error

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]
ENCODER = EncoderConfig(precision="fp32", max_length=32)
LATE = LateConfig(dim=48)
WORDS = "moon sea harbour sparse matrix inverse verse kernel graph pilot almanac column wind".split()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Passages, their vectors and their token vectors."""
    root = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, size)) for size in rng.integers(1, 30, 40)]
    rows = [{"id": f"d{i}", "title": "", "text": text, "metadata": []} for i, text in enumerate(texts)]
    (root / "documents").mkdir()
    write_partition(pa.Table.from_pylist(rows, DOCUMENTS), root / "documents" / partition_name(0))
    chunk(root / "documents", ChunkConfig(partition_rows=16), root)
    embed(root / "passages", ENCODER, EmbedConfig(), root)
    (root / "late").mkdir()
    embed_tokens(root / "passages", root, ENCODER, LATE, root / "late")
    return root


def test_every_passage_has_its_token_vectors(run: Path) -> None:
    manifest = json.loads((run / "late" / "manifest.json").read_text())
    assert manifest["fingerprint"] == json.loads((run / "manifest.json").read_text())["fingerprint"]
    assert manifest["dim"] == 48 and len(manifest["partitions"]) == 3
    projection = Projection.load(run / "late" / PROJECTION)
    encoder = TokenEncoder(load_encoder(ENCODER), project=projection)
    for path in partitions(run / "passages"):
        table = pq.read_table(path).to_pylist()
        expected = encoder.encode([passage_text(row["title"], row["text"]) for row in table])
        (stored,) = read_multivectors(run / "late" / "multivectors" / path.name)
        assert stored.ids == [row["id"] for row in table]
        assert np.array_equal(stored.starts, expected.starts)
        assert np.abs(projection.unpack(stored.tokens) - expected.vectors).max() < 1e-3


def test_what_is_done_is_kept(run: Path) -> None:
    late = run / "late"
    gone = late / "multivectors" / partition_name(1)
    before = gone.read_bytes()
    kept = {path.name: path.stat().st_mtime_ns for path in partitions(gone.parent) if path != gone}
    projection = (late / PROJECTION).stat().st_mtime_ns
    gone.unlink()
    (gone.parent / f".{gone.name}.unfinished").write_bytes(b"cut sh")
    result = embed_tokens(run / "passages", run, ENCODER, LATE, late)
    assert result["passages"] == 40 and result["kept_passages"] == 24 and result["tokens"] > 40
    assert gone.read_bytes() == before and (late / PROJECTION).stat().st_mtime_ns == projection
    assert {path.name: path.stat().st_mtime_ns for path in partitions(gone.parent) if path != gone} == kept
    assert not list(gone.parent.glob(".*"))


def test_search_scores_by_maxsim(run: Path) -> None:
    out = run / "index"
    out.mkdir()
    build_index(run / "documents", run / "passages", run, IndexConfig(), out, run / "late")
    retriever = open_retriever(out, ENCODER)
    (hits,) = retriever.search(["sparse matrix by the sea"], mode="late", top_k=5)
    retriever.index.close()
    encoder = TokenEncoder(load_encoder(ENCODER), project=Projection.load(out / PROJECTION))
    query = encoder.encode(["sparse matrix by the sea"])
    passages = encoder.encode([hit.text for hit in hits])
    (scores,) = maxsim(query.vectors, query.starts, passages.vectors, passages.starts)
    np.testing.assert_allclose([hit.score for hit in hits], scores, rtol=5e-3)
    assert len(hits) == 5 and list(scores) == sorted(scores, reverse=True)


def test_mode_late_needs_token_vectors(run: Path, tmp_path: Path) -> None:
    build_index(run / "documents", run / "passages", run, IndexConfig(), tmp_path)
    retriever = open_retriever(tmp_path, ENCODER)
    with pytest.raises(InputError, match="the index holds no token vectors") as raised:
        retriever.search(["sea"], mode="late")
    assert "late: {}" in raised.value.remedy
    retriever.index.close()


def test_more_dimensions_than_the_model_has_and_another_encoder_are_told(run: Path, tmp_path: Path) -> None:
    for encoder, config, said in (
        (ENCODER, LateConfig(dim=385), r"late.dim: 385 is more than .* have \(384\)"),
        (EncoderConfig(precision="fp32", max_length=64), LATE, "the run's vectors were made by the encoder"),
    ):
        with pytest.raises(Exception, match=said) as raised:
            embed_tokens(run / "passages", run, encoder, config, tmp_path)
        assert input_error(raised.value) is not None
