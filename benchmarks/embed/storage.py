"""What fewer bytes and dimensions cost: Recall@100 of the exact float32 search and nDCG@10, for every form.

``python -m benchmarks.embed.storage`` prints the table of all forms; ``measure`` gives the rows that represent it,
beside sentence-transformers' own quantised search, and how fast stored vectors are read.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from benchmarks.rows import Row, median_ratio
from data.encoders import load_encoder
from data.partitions import partition_name, read_batches, read_qrels, read_table
from data.vectors.exact_search import Rows, overlap, rescore, search
from data.vectors.projection import Projection, fit_pca, random_projection, truncation
from data.vectors.quantise import STORAGES, Floats, Storage, bytes_per_vector, encode
from data.vectors.read import codes, read_codes
from data.vectors.table import ROW_GROUP, vector_column, write_table
from evaluation.ranking import evaluate_ranking
from ray_apps.config import load_run
from ray_apps.plan import Plan

RUNS = Path(__file__).resolve().parents[2] / "runs"
CORPORA = ("scifact", "cranfield")
DEPTH = 100
OVERSAMPLE = 4
DIMS = (256, 192, 128, 64)
READ_ROWS = 8_192  # Python lists of more take minutes


@dataclass(frozen=True)
class Form:
    """One way to keep vectors."""

    method: Literal["full", "pca", "random", "matryoshka"]
    dim: int
    storage: Storage
    rescored: bool = False

    @property
    def name(self) -> str:
        """As in a row's id."""
        return f"{self.method}{self.dim}_{self.storage}{'_rescored' if self.rescored else ''}"


@dataclass(frozen=True)
class Corpus:
    """Vectors of a corpus and its questions, with the judgements."""

    documents: list[str]
    vectors: Floats
    queries: list[str]
    questions: Floats
    qrels: Mapping[str, Mapping[str, int]]
    exact: Rows


@dataclass(frozen=True)
class Lost:
    """What a form came to."""

    bytes_each: int
    recall: float
    ndcg: float


def forms(dim: int) -> Iterator[Form]:
    """Every form of the table: all storages of all dimensions, and three of fewer dimensions, rescored and not."""
    for method, dims in (("full", (dim,)), ("pca", DIMS), ("random", DIMS), ("matryoshka", DIMS)):
        for left in dims:
            for storage in STORAGES if method == "full" else ("float32", "int8", "binary"):
                yield Form(method, left, storage)  # type: ignore[arg-type]
                if storage in ("int8", "binary"):
                    yield Form(method, left, storage, rescored=True)  # type: ignore[arg-type]


def load(name: str) -> Corpus:
    """A run's vectors; what is not embedded yet is embedded."""
    plan = Plan(load_run(RUNS / f"{name}.yaml"))
    tables, embedded = plan.bring("ingest").path, plan.bring("embed")
    qrels = read_qrels(tables / "qrels")
    asked = read_table(tables / "queries", ["id", "text"]).to_pylist()
    queries = {query["id"]: query["text"] for query in asked if query["id"] in qrels}
    _, everything = read_codes(embedded.path / "vectors")
    documents = read_table(plan.bring("chunk").path / "passages", ["document_id"])["document_id"].to_pylist()
    encoder = plan.run.encoder.model_copy(update={"precision": embedded.result["precision"]})
    questions = load_encoder(encoder).encode(list(queries.values()))
    exact = search(questions, everything, "float32", DEPTH)[1]
    return Corpus(documents, everything, list(queries), questions, qrels, exact)


def lost(corpus: Corpus, form: Form) -> Lost:
    """Search by a form, and judge it."""
    full_dim = corpus.vectors.shape[1]
    make: dict[str, Callable[[], Projection]] = {
        "pca": lambda: fit_pca([corpus.vectors], "", form.dim),
        "random": lambda: random_projection("", full_dim, form.dim, seed=0),
        "matryoshka": lambda: truncation("", full_dim, form.dim),
    }
    stored, asked = corpus.vectors, corpus.questions
    if form.method != "full":
        projection = make[form.method]()
        stored, asked = projection(stored), projection(asked)
    found = search(asked, encode(stored, form.storage), form.storage, DEPTH * (OVERSAMPLE if form.rescored else 1))[1]
    if form.rescored:
        found = rescore(corpus.questions, found, corpus.vectors, DEPTH)[1]
    return Lost(bytes_per_vector(form.dim, form.storage), overlap(found, corpus.exact), ndcg(corpus, found))


def ndcg(corpus: Corpus, found: Rows) -> float:
    """nDCG@10 of a search; a document of several passages has the rank of its best one."""
    run = {}
    for query, rows in zip(corpus.queries, found.tolist(), strict=True):
        places: dict[str, float] = {}
        for place, row in enumerate(rows):
            places.setdefault(corpus.documents[row], -float(place))
        run[query] = places
    return evaluate_ranking(run, corpus.qrels).means["ndcg@10"]


def measure() -> list[Row]:
    """Rows of the forms at full dimension and at 128, and of reading."""
    rows = []
    for name in CORPORA:
        corpus = load(name)
        peers = sentence_transformers(corpus)
        for form in forms(corpus.vectors.shape[1]):
            if form.method == "full" or (form.dim == 128 and form.storage != "binary"):
                rows.append(_row(name, corpus, form, peers))
    return [*rows, reading()]


def _row(name: str, corpus: Corpus, form: Form, peers: Mapping[Storage, Rows]) -> Row:
    came = lost(corpus, form)
    peer = f"{came.bytes_each} bytes a vector of float32's {corpus.vectors.shape[1] * 4}; nDCG@10 {came.ndcg:.4f}"
    if form.method == "full" and form.storage in peers:
        theirs = peers[form.storage]
        peer += (
            f"; sentence-transformers' semantic_search_faiss, rescored: {overlap(theirs, corpus.exact):.4f}, "
            f"nDCG@10 {ndcg(corpus, theirs):.4f}"
        )
    return Row(
        id=f"embed.storage_{name}_{form.name}",
        what=f"Recall@100 of exact float32 search on {name}, {form.storage}"
        + ("" if form.method == "full" else f" of {form.dim} dimensions by {form.method}")
        + (f", {OVERSAMPLE} times as many found and rescored by float32" if form.rescored else ""),
        value=came.recall,
        unit="recall",
        peer=peer,
    )


def sentence_transformers(corpus: Corpus) -> dict[Storage, Rows]:
    """What the peer's exact quantised search finds, rescored as it does: questions as floats, documents as codes."""
    from sentence_transformers.util.quantization import quantize_embeddings, semantic_search_faiss

    found: dict[Storage, Rows] = {}
    peers: tuple[tuple[Storage, str], ...] = (("int8", "uint8"), ("binary", "ubinary"))
    for storage, precision in peers:
        answers, _ = semantic_search_faiss(
            corpus.questions,
            corpus_embeddings=quantize_embeddings(
                corpus.vectors, precision=precision, calibration_embeddings=corpus.vectors
            ),
            corpus_precision=precision,
            top_k=DEPTH,
            calibration_embeddings=corpus.vectors,
            rescore=True,
            rescore_multiplier=OVERSAMPLE,
            exact=True,
        )
        found[storage] = np.array([[hit["corpus_id"] for hit in hits] for hits in answers])
    return found


def reading() -> Row:
    """Stored vectors as NumPy arrays over Arrow's memory, beside Python lists made into an array."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / partition_name(0)
        raw = np.random.default_rng(0).standard_normal((READ_ROWS, 384), dtype=np.float32)
        raw /= np.linalg.norm(raw, axis=1, keepdims=True)
        field, column = vector_column(raw, "float32")
        ids = pa.array([f"{i:032x}" for i in range(READ_ROWS)])
        write_table(pa.table([ids, column], pa.schema([("id", pa.string()), field])), path)

        def ours() -> None:
            for batch in read_batches(path.parent, ["vector"], rows=ROW_GROUP):
                codes(batch)

        def theirs() -> None:
            np.array(read_table(path.parent, ["vector"])["vector"].to_pylist(), dtype=np.float32)

        ratio, ours_s, theirs_s = median_ratio(ours, theirs, 3)
    size = raw.nbytes / 1e9
    return Row(
        id="embed.storage_reading",
        what=f"{READ_ROWS:,} float32 vectors of 384 dimensions read from Parquet to NumPy, against Python lists",
        value=ratio,
        unit="times",
        at_least=5.0,
        peer=f"to_pylist and np.array: {size / theirs_s:.3f} GB/s; ours, with decompression: {size / ours_s:.2f} GB/s",
    )


def table() -> str:
    """All forms of all corpora as Markdown."""
    corpora = {name: load(name) for name in CORPORA}
    dim = next(iter(corpora.values())).vectors.shape[1]
    lines = [
        "| form | dimensions | bytes | " + " | ".join(f"{name} Recall@100 | nDCG@10" for name in corpora) + " |",
        "|---" * (3 + 2 * len(corpora)) + "|",
    ]
    for form in forms(dim):
        came = [lost(corpus, form) for corpus in corpora.values()]
        words = (form.storage, form.method if form.method != "full" else "", "rescored" if form.rescored else "")
        how = ", ".join(word for word in words if word)
        figures = " | ".join(f"{one.recall:.3f} | {one.ndcg:.4f}" for one in came)
        lines.append(f"| {how} | {form.dim} | {came[0].bytes_each:,} | {figures} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
