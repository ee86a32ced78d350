"""Documents that are not in the corpus get links from their text and from links they bring."""

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data.errors import InputError
from data.graph.graph import build_graph, load_graph
from data.graph.split import SplitConfig, write_split
from data.partitions import partition_name, write_partition
from data.schema import DOCUMENTS, LINKS
from discovery.predictor import links_of
from discovery.unseen import NewDocument, with_documents
from training.config import OptimizerConfig
from training.frame import fit
from training.links.config import NodesConfig, ScorerConfig, TrainConfig
from training.links.features import FEATURES
from training.links.nodes import save_model
from training.links.stacking import choose, make_lists, valid_pairs
from training.links.states import NODE_VECTORS, states_over
from training.links.task import LinkTask

TOPICS = ("moon tide sea", "bread oven flour", "chess rook pawn", "violin bow string")
SIZE, DIM = 15, 8
CONFIG = TrainConfig(
    model=NodesConfig(width=16, words=8),
    scorer=ScorerConfig(units=0, shortlist=10, random=20, epochs=4),
    optimizer=OptimizerConfig(epochs=4, learning_rate=0.02),
)


def vector_of(text: str) -> np.ndarray:
    """A stand-in for an encoder: which topic's words a text has, and a little of its own."""
    rng = np.random.default_rng(zlib.crc32(text.encode()))
    told = np.array([sum(word in text for word in topic.split()) for topic in TOPICS] * 2, np.float32)
    made = told + 0.1 * rng.normal(size=DIM).astype(np.float32)
    return np.asarray(made / np.linalg.norm(made), np.float32)


def encode(texts: list[str]) -> np.ndarray:
    return np.stack([vector_of(text) for text in texts])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return write_corpus(tmp_path_factory.mktemp("unseen"))


def write_corpus(folder: Path, encode: Callable[[list[str]], np.ndarray] = encode) -> tuple[Path, Path, Path]:
    """Documents, graph and train folders of four topics of fifteen documents each."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "id": f"d{t}_{n}",
            "title": f"No {n}",
            "text": f"{topic} note {n} word{chr(97 + n)}",
            "metadata": None,
            "time": None,
        }
        for t, topic in enumerate(TOPICS)
        for n in range(SIZE)
    ]
    ids = [row["id"] for row in rows]
    links = [
        {"source": a, "target": b, "relation": "near", "weight": 1.0}
        for i, a in enumerate(ids)
        for b in ids[i + 1 :]
        if a[:2] == b[:2] and rng.random() < 0.5
    ]
    vectors = encode([row["text"] for row in rows])
    for name, table in {
        "documents": pa.Table.from_pylist(rows, schema=DOCUMENTS),
        "links": pa.Table.from_pylist(links, schema=LINKS),
        "vectors": pa.table(
            {
                "document_id": ids,
                "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]),
            }
        ),
    }.items():
        (folder / name).mkdir()
        write_partition(table, folder / name / partition_name(0))
    for name in ("split", "graph", "train"):
        (folder / name).mkdir()
    write_split(folder / "documents", folder / "links", SplitConfig(valid_fraction=0.2), folder / "split")
    build_graph(folder / "documents", folder / "split", folder / "vectors", "english", folder / "graph")
    graph = load_graph(folder / "graph")
    task = LinkTask(graph, CONFIG)
    fit(task, CONFIG.optimizer)
    save_model(task.model, folder / "train" / "model.safetensors")
    states_over(task.model, graph, graph.seen_graph, folder / "train" / NODE_VECTORS)
    lists = make_lists(graph, graph.training_graph, task.states(), valid_pairs(graph), CONFIG.scorer, 0, True)
    choose(lists, FEATURES, CONFIG.scorer, 0)[0].save(folder / "train" / "model.scorer.safetensors")
    return folder / "documents", folder / "graph", folder / "train"


def test_a_text_alone_is_linked_within_its_topic(corpus: tuple[Path, Path, Path]) -> None:
    documents, graph, train = corpus
    new = [
        NewDocument("new1", "", "a rook takes a pawn in chess wordd"),
        NewDocument("new2", "Oven", "flour and bread"),
    ]
    found = links_of(new, graph, train, encode, documents=documents, top=5)
    assert [len(rows) for rows in found] == [5, 5]
    for rows, topic in zip(found, (2, 1), strict=True):
        assert sum(row["target"].startswith(f"d{topic}") for row in rows) >= 4
        assert all(rows[n]["score"] >= rows[n + 1]["score"] for n in range(4))
        assert all(0 <= row["probability"] <= 1 and row["reason"] for row in rows)
    told = {row["target"]: row["terms"] for row in links_of(new, graph, train, encode, documents=documents, top=50)[0]}
    assert told["d2_3"] == ["wordd"] and told["d2_4"] == [], "words in many documents say nothing"


def test_links_it_brings_say_more_than_its_text_and_are_not_proposed(corpus: tuple[Path, Path, Path]) -> None:
    _, graph, train = corpus
    brought = tuple(f"d3_{n}" for n in range(5))
    (rows,) = links_of([NewDocument("new", "", "nothing told", brought)], graph, train, encode, top=8)
    targets = [row["target"] for row in rows]
    assert not set(targets) & set(brought)
    assert sum(target.startswith("d3") for target in targets) >= 6
    assert rows[0]["shared_neighbours"] > 0


def test_a_document_of_the_corpus_given_as_new_is_linked_as_before(corpus: tuple[Path, Path, Path]) -> None:
    documents, graph, train = corpus
    opened = load_graph(graph)
    place = int(np.argmax(opened.training_graph.degrees))
    near = tuple(opened.ids[other] for other in opened.training_graph.adjacency[[place]].indices)
    new = NewDocument("again", "", "moon tide sea", near)
    (rows,) = links_of([new], graph, train, encode, documents=documents, top=3)
    assert opened.ids[place][:2] in {row["target"][:2] for row in rows}


def test_where_the_corpus_has_no_texts_links_alone_speak(corpus: tuple[Path, Path, Path]) -> None:
    _, graph, train = corpus
    brought = tuple(f"d3_{n}" for n in range(5))
    (rows,) = links_of([NewDocument("new", "", "", brought)], graph, train, None, top=8)
    assert sum(row["target"].startswith("d3") for row in rows) >= 6


def test_mistakes(corpus: tuple[Path, Path, Path]) -> None:
    opened = load_graph(corpus[1])
    vector = np.ones((1, DIM), np.float32)
    with pytest.raises(InputError, match="has a document with the id 'd0_1'"):
        with_documents(opened, [NewDocument("d0_1", "", "x")], vector, None)
    with pytest.raises(InputError, match="linked with 'nowhere'"):
        with_documents(opened, [NewDocument("new", "", "x", ("nowhere",))], vector, None)
