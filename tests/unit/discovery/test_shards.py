"""Shards change nothing in what is found, a killed job goes on, and the best are kept in flat memory."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.graph.graph import GraphArtifact
from data.graph.split import SplitConfig, split_links
from data.partitions import read_table
from data.schema import PARTS
from data.spread import here
from discovery import select
from discovery.candidates import Nodes, pair_codes
from discovery.config import DiscoverConfig
from discovery.discover import discover, held_pairs
from discovery.select import Held, best_first, diverse, score_of, survey
from discovery.shards import SCORED, Source, find_and_score, scored_pairs

N = 300
CONFIG = DiscoverConfig(keep=200, most_of_one=500)


class Inner:
    """Scores by inner product, more where the first is the lower; counts the pairs that it scored."""

    relation_names = ("cites",)

    def __init__(self, graph: GraphArtifact) -> None:
        self.node_vectors = np.asarray(graph.vectors)
        self.scored = 0

    def score_pairs(self, sources: Nodes, targets: Nodes) -> np.ndarray:
        self.scored += len(sources)
        inner = np.einsum("pd,pd->p", self.node_vectors[sources], self.node_vectors[targets])
        return np.asarray(inner + 0.01 * (sources < targets), np.float32)

    def relations(self, sources: Nodes, targets: Nodes) -> np.ndarray:
        return np.zeros(len(sources), np.int64)


@pytest.fixture(scope="module")
def graph() -> GraphArtifact:
    rng = np.random.default_rng(0)
    group = np.arange(N) // 10
    vectors = (rng.normal(size=(30, 8))[group] + 0.4 * rng.normal(size=(N, 8))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    u, v = np.triu_indices(N, 1)
    linked = rng.random(len(u)) < np.where(group[u] == group[v], 0.5, 0.001)
    u, v = u[linked], v[linked]
    return GraphArtifact(
        ids=[f"d{n}" for n in range(N)],
        titles=[""] * N,
        vectors=vectors,
        pairs=np.column_stack([u, v]),
        split=split_links(u, v, SplitConfig(valid_fraction=0.2, test_fraction=0.2)),
        relation=np.zeros(len(u), np.int32),
        relation_names=["cites"],
    )


def source_of(graph: GraphArtifact) -> tuple[Source, Inner]:
    scorer = Inner(graph)
    return Source(lambda: graph, lambda: scorer), scorer


@pytest.mark.parametrize("shard", [7, 100, 300, 1000])
def test_shards_change_nothing(graph: GraphArtifact, tmp_path: Path, shard: int) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "many").mkdir()
    one = discover(source_of(graph)[0], CONFIG, tmp_path / "one")
    many = discover(source_of(graph)[0], CONFIG.model_copy(update={"shard_documents": shard}), tmp_path / "many")
    assert one == many
    assert read_table(tmp_path / "one" / "links").equals(read_table(tmp_path / "many" / "links"))
    assert read_table(tmp_path / "one" / "documents").equals(read_table(tmp_path / "many" / "documents"))
    assert not (tmp_path / "many" / "work").exists()


def test_each_pair_is_scored_once_in_either_direction(graph: GraphArtifact, tmp_path: Path) -> None:
    source, scorer = source_of(graph)
    files = find_and_score(source, N, CONFIG.model_copy(update={"shard_documents": 64}), tmp_path, here)
    pairs = np.concatenate(list(scored_pairs(files)))
    assert len(files) == 5
    assert scorer.scored == 2 * len(pairs) == 2 * len(np.unique(pair_codes(pairs["low"], pairs["high"], N)))
    np.testing.assert_allclose(pairs["forward"] - pairs["backward"], 0.01, atol=1e-5)


def test_a_killed_job_goes_on_where_it_stopped(graph: GraphArtifact, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"shard_documents": 50})
    source, scorer = source_of(graph)
    files = find_and_score(source, N, config, tmp_path, here)
    whole, before = [path.read_bytes() for path in files], scorer.scored
    find_and_score(source, N, config, tmp_path, here)
    assert scorer.scored == before
    files[2].unlink()
    (tmp_path / "scored" / ".x.unfinished").write_bytes(b"left by a killed worker")
    find_and_score(source, N, config, tmp_path, here)
    assert before < scorer.scored < 1.5 * before
    assert [path.read_bytes() for path in files] == whole


def scored(rng: np.random.Generator, count: int) -> np.ndarray:
    pairs = np.zeros(count, SCORED)
    codes = np.sort(rng.choice(N * N, 3 * count, replace=False))
    codes = codes[codes // N < codes % N][:count]
    pairs = pairs[: len(codes)]
    pairs["low"], pairs["high"] = codes // N, codes % N
    pairs["forward"] = pairs["backward"] = rng.random(len(codes)).astype(np.float32).round(2)
    return pairs


def nothing_held(**codes: Nodes) -> Held:
    return Held(**{name: codes.get(name, np.empty(0, np.int64)) for name in ("valid", "test", "other")})


def test_a_survey_keeps_the_best_and_stands_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select, "SAMPLE", 1500)
    pairs = scored(np.random.default_rng(1), 6000)
    codes = pair_codes(pairs["low"], pairs["high"], N)
    valid = codes[::50]
    seen = survey(np.array_split(pairs, 7), len(pairs), nothing_held(valid=valid), N, keep=40, seed=0)
    opened = pairs[~np.isin(codes, valid)]
    assert seen.best[:40].tolist() == opened[best_first(opened, N)][:40].tolist()
    assert len(seen.best) == 40 * select.RESERVE
    sample = seen.sample
    assert len(sample.score) < 0.6 * len(pairs)
    assert sample.linked.sum() == len(valid) and (sample.weight[sample.linked] == 1).all()
    assert sample.weight.sum() == pytest.approx(len(pairs), rel=0.05)
    assert np.average(sample.score, weights=sample.weight) == pytest.approx(score_of(pairs).mean(), rel=0.02)
    top = np.sort(score_of(pairs))[-40:]
    assert sorted(sample.score[sample.weight == 1].tolist())[-40:] == pytest.approx(top.tolist())


def test_held_pairs_are_counted_apart(graph: GraphArtifact) -> None:
    pairs = scored(np.random.default_rng(2), 1000)
    codes = pair_codes(pairs["low"], pairs["high"], N)
    held = nothing_held(valid=codes[:10], test=codes[10:30], other=codes[30:35])
    seen = survey([pairs], len(pairs), held, N, keep=5000, seed=0)
    assert seen.found == {"valid": 10, "test": 20}
    assert len(seen.best) == len(pairs) - 35
    assert len(seen.sample.score) == len(pairs) - 25 and seen.sample.linked.sum() == 10

    judged = np.array([3]), np.array([250])
    mine = held_pairs(graph, judged)
    assert mine.other.tolist() == [3 * N + 250]
    assert len(mine.valid) == len(graph.links("valid")[0])
    split = graph.split.copy()
    split[:4] = PARTS.index("unused")
    again = held_pairs(replace(graph, split=split), judged)
    assert len(again.other) == 5


def test_no_document_takes_all_places() -> None:
    pairs = np.zeros(60, SCORED)
    pairs["low"], pairs["high"] = 0, np.arange(1, 61)
    pairs["low"][30:] = np.arange(100, 130)
    kept = diverse(pairs, keep=20, most_of_one=4)
    assert kept["low"].tolist() == [0] * 4 + list(range(100, 116))
    assert len(diverse(pairs, 1000, 1000)) == 60


def test_one_document_and_none(tmp_path: Path) -> None:
    for n in (1, 2):
        alone = GraphArtifact(
            ids=["a", "b"][:n],
            titles=[""] * n,
            vectors=np.zeros((n, 0), np.float32),
            pairs=np.zeros((0, 2), np.int64),
            split=np.zeros(0, np.int8),
            relation=np.zeros(0, np.int32),
            relation_names=[],
        )
        out = tmp_path / str(n)
        out.mkdir()
        assert discover(source_of(alone)[0], CONFIG, out)["kept"] == 0
