"""Expansion by links: the scores are those of brute force, hubs gain little, and nothing comes in that must not."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrieval.config import LinkKind
from retrieval.engines.edge import EdgeIndex
from retrieval.expansion import KINDS, LinkExpander, spread
from retrieval.explain import explain
from retrieval.filters import parse_filter
from retrieval.fused import FusedIndex
from retrieval.fusion import Fusion
from retrieval.hits import SearchHit, best_passages
from retrieval.index import Hit, IndexedPassage, IndexQuery
from retrieval.live import LiveIndex
from retrieval.query import SearchQuery
from retrieval.search import Retriever
from retrieval.steps import ExpandStep
from retrieval.trail import Place
from tests.unit.retrieval.test_live import CONFIG, DIM, KEYS, LATE_DIM, Both, document, flat

DOCUMENTS = 60
Weighted = dict[frozenset[str], float]


class Pairs:
    """Links in memory, by pairs of documents."""

    def __init__(self, known: Weighted, discovered: Weighted | None = None) -> None:
        self.of: dict[LinkKind, dict[str, dict[str, float]]] = {}
        kinds: list[tuple[LinkKind, Weighted]] = [("known", known), ("discovered", discovered or {})]
        for kind, pairs in kinds:
            ends: dict[str, dict[str, float]] = defaultdict(dict)
            for pair, weight in pairs.items():
                a, b = sorted(pair)
                ends[a][b] = ends[b][a] = weight
            self.of[kind] = dict(ends)

    def links_of(self, ids: Collection[str], kind: LinkKind) -> Mapping[str, Sequence[tuple[str, float]]]:
        return {id_: list(self.of[kind][id_].items()) for id_ in ids if id_ in self.of[kind]}

    def strengths(self, ids: Collection[str], kind: LinkKind) -> Mapping[str, float]:
        return {id_: sum(self.of[kind].get(id_, {}).values()) for id_ in ids}


def pairs_of(*links: tuple[str, str, float]) -> Weighted:
    return {frozenset((a, b)): weight for a, b, weight in links}


def random_pairs(rng: np.random.Generator, count: int, most: float) -> Weighted:
    drawn = rng.integers(0, DOCUMENTS + 5, (count, 2))  # the last five are in no index
    return {frozenset((f"d{a}", f"d{b}")): float(rng.uniform(0.01, most)) for a, b in drawn if a != b}


def brute_force(links: Pairs, step: ExpandStep, found: Sequence[SearchHit]) -> dict[str, float]:
    """Every document's score after the step, by the formula, one pair at a time."""
    scores = {hit.document_id: hit.score for hit in found}
    for kind in KINDS[step.expand]:
        floor = 1.0 if kind == "discovered" else 0.0
        ends = links.of[kind]
        for seed in found[: step.depth]:
            for other, weight in ends.get(seed.document_id, {}).items():
                of_seed, of_other = (max(sum(ends[id_].values()), floor) for id_ in (seed.document_id, other))
                share = weight / np.sqrt(of_seed * of_other)
                scores[other] = scores.get(other, 0.0) + step.weight * share * max(seed.score, 0.0)
    return scores


class Asked:
    """An index over a corpus with a live part, and how often it was asked."""

    def __init__(self, folder: Path) -> None:
        self.rng = np.random.default_rng(0)
        corpus = {f"d{n}": document(f"d{n}", self.rng, int(self.rng.integers(1, 4))) for n in range(DOCUMENTS)}
        base = EdgeIndex.create(folder / "base", DIM, KEYS, CONFIG, LATE_DIM)
        base.upsert(flat(corpus))
        base.finish()
        self.both, self.requests = Both(folder, base, corpus), 0
        self.index = FusedIndex(self.both.index, Fusion())

    def ask(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        self.requests += 1
        return self.index.query_batch(queries)

    def vectors(self, count: int) -> list[np.ndarray]:
        drawn = self.rng.normal(size=(count, DIM))
        return list((drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32))

    def found(self, vectors: Sequence[np.ndarray], depth: int = 12) -> list[list[SearchHit]]:
        hits = self.index.query_batch([IndexQuery(3 * depth, vector) for vector in vectors])
        return [best_passages(of_one)[:depth] for of_one in hits]

    def expander(self, links: Pairs) -> LinkExpander:
        return LinkExpander(self.ask, self.both.meta, links)

    def best_passage(self, id_: str, vector: np.ndarray) -> IndexedPassage:
        return max(self.both.documents[id_], key=lambda passage: float(passage.vector @ vector))


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    made = Asked(tmp_path)
    yield made
    made.index.close()


def step(expand: str = "known", **keys: float) -> ExpandStep:
    said: Any = {"expand": expand, **keys}
    return ExpandStep(**said)


def queries(count: int, how: ExpandStep, filter_: Mapping[str, object] | None = None) -> list[SearchQuery]:
    return [SearchQuery(f"question {n}", "dense", filter=parse_filter(filter_ or {}), expand=how) for n in range(count)]


@pytest.mark.parametrize("kinds", ["known", "discovered", "both"])
def test_scores_are_those_of_brute_force(asked: Asked, kinds: str) -> None:
    links = Pairs(random_pairs(asked.rng, 150, 30.0), random_pairs(asked.rng, 80, 1.0))
    how, vectors = step(kinds, depth=5, weight=0.7, most=1000), asked.vectors(8)
    found = asked.found(vectors)
    expanded = asked.expander(links).expand(queries(8, how), vectors, found)
    assert asked.requests == 1, "one request for all documents that are added to any question"
    grew = 0
    for before, after, vector in zip(found, expanded, vectors, strict=True):
        wanted = {id_: score for id_, score in brute_force(links, how, before).items() if id_ in asked.both.documents}
        assert {hit.document_id: hit.score for hit in after} == pytest.approx(wanted, rel=1e-5)
        assert [hit.score for hit in after] == sorted((hit.score for hit in after), reverse=True)
        assert len({hit.document_id for hit in after}) == len(after)
        there = {hit.document_id: hit.passage_id for hit in before}
        for hit in after:
            best = asked.best_passage(hit.document_id, vector)
            assert hit.passage_id == there.get(hit.document_id, best.id)
            assert hit.document_id in there or (hit.text, hit.metadata) == (best.text, best.metadata)
        grew += len(after) - len(before)
    assert grew > 20


def test_a_question_alone_gets_what_it_gets_among_others(asked: Asked) -> None:
    links = Pairs(random_pairs(asked.rng, 150, 2.0))
    vectors = asked.vectors(6)
    found, expander = asked.found(vectors), asked.expander(links)
    together = expander.expand(queries(6, step()), vectors, found)
    for n in range(6):
        (alone,) = expander.expand(queries(1, step()), vectors[n : n + 1], found[n : n + 1])
        assert [hit.document_id for hit in alone] == [hit.document_id for hit in together[n]]
        assert [hit.score for hit in alone] == pytest.approx([hit.score for hit in together[n]])


def test_a_hub_gains_less_than_a_document_that_is_linked_to_one() -> None:
    hub = pairs_of(("seed", "leaf", 1.0), *((f"other{n}", "hub", 1.0) for n in range(24)), ("seed", "hub", 1.0))
    (gains,) = spread(Pairs(hub), ["known"], [{"seed": 0.8}])
    assert gains == pytest.approx({"leaf": 0.8 / np.sqrt(2 * 1), "hub": 0.8 / np.sqrt(2 * 25)})


def test_known_weights_have_any_scale_and_probabilities_their_own() -> None:
    known = pairs_of(("a", "b", 1.0), ("a", "c", 3.0), ("b", "d", 2.0))
    seeds = [{"a": 1.0, "d": 0.5}]
    larger = {pair: 50 * weight for pair, weight in known.items()}
    assert spread(Pairs(larger), ["known"], seeds)[0] == pytest.approx(spread(Pairs(known), ["known"], seeds)[0])
    (alone,) = spread(Pairs({}, pairs_of(("a", "b", 0.1))), ["discovered"], [{"a": 1.0}])
    assert alone == pytest.approx({"b": 0.1}), "a lone link that is improbable gives little"


def test_a_cycle_gives_once_and_to_each_of_its_documents() -> None:
    cycle = pairs_of(("a", "b", 1.0), ("b", "c", 1.0), ("c", "a", 1.0))
    (gains,) = spread(Pairs(cycle), ["known"], [{"a": 1.0, "b": 1.0, "c": 1.0}])
    assert gains == pytest.approx({"a": 1.0, "b": 1.0, "c": 1.0})


def test_a_negative_score_takes_nothing_from_those_it_is_linked_to(asked: Asked) -> None:
    vectors = asked.vectors(1)
    ((best, *_),) = found = asked.found(vectors)
    found = [[SearchHit(**{**best.__dict__, "score": -0.5})]]
    links = Pairs(pairs_of((best.document_id, "d1" if best.document_id != "d1" else "d2", 1.0)))
    assert asked.expander(links).expand(queries(1, step()), vectors, found) == found


def test_at_most_so_many_are_added_those_that_gain_most(asked: Asked) -> None:
    vectors = asked.vectors(1)
    (hits,) = found = asked.found(vectors, depth=3)
    there = {hit.document_id for hit in hits}
    others = [f"d{n}" for n in range(DOCUMENTS) if f"d{n}" not in there][:6]
    links = Pairs(pairs_of(*((hits[0].document_id, id_, 1.0 + n) for n, id_ in enumerate(others))))
    (expanded,) = asked.expander(links).expand(queries(1, step(weight=0.01, most=2)), vectors, found)
    assert {hit.document_id for hit in expanded} == {*there, *others[-2:]}


def test_documents_of_which_the_index_has_nothing_are_left_out(asked: Asked) -> None:
    """Of links to documents that are in no index, that were deleted since, or that were replaced since."""
    vectors = asked.vectors(1)
    (hits,) = found = asked.found(vectors, depth=2)
    there = [hit.document_id for hit in hits]
    gone, replaced = [f"d{n}" for n in range(DOCUMENTS) if f"d{n}" not in there][:2]
    asked.both.delete([gone])
    asked.both.put({replaced: document(replaced, asked.rng)})
    links = Pairs(pairs_of((there[0], "nowhere", 9.0), (there[0], gone, 1.0), (there[0], replaced, 1.0)))
    (expanded,) = asked.expander(links).expand(queries(1, step(weight=0.01)), vectors, found)
    assert [hit.document_id for hit in expanded] == [*there, replaced]
    assert expanded[-1].text == asked.best_passage(replaced, vectors[0]).text
    assert isinstance(asked.both.index, LiveIndex)


def test_nothing_found_and_nothing_linked_ask_for_nothing(asked: Asked) -> None:
    expander = asked.expander(Pairs(pairs_of(("d1", "d2", 1.0))))
    assert expander.expand(queries(2, step("both")), asked.vectors(2), [[], []]) == [[], []]
    assert expander.expand([], [], []) == []
    vectors = asked.vectors(1)
    found = asked.found(vectors)
    assert asked.expander(Pairs({})).expand(queries(1, step("both")), vectors, found) == found
    assert asked.requests == 0


def test_documents_that_are_added_pass_the_filter(asked: Asked) -> None:
    """And others take the places of those that do not."""
    links = Pairs(random_pairs(asked.rng, 400, 1.0))
    vectors, how = asked.vectors(6), step(depth=5, most=4)
    found = asked.found(vectors, depth=5)
    passing = [[hit for hit in hits if hit.metadata == {"kind": "k1"}] for hits in found]
    expanded = asked.expander(links).expand(queries(6, how, {"kind": "k1"}), vectors, passing)
    added = [len(after) - len(before) for before, after in zip(passing, expanded, strict=True)]
    kinds = {hit.metadata["kind"] for hits in expanded for hit in hits}
    assert kinds == {"k1"} and max(added) == 4


def test_a_question_of_words_alone_is_shown_passages_by_words(asked: Asked) -> None:
    (first, second, *_) = asked.both.documents
    text = asked.both.documents[second][0].text
    found = [best_passages(asked.index.query_batch([IndexQuery(1, asked.both.documents[first][0].vector)])[0])]
    links = Pairs(pairs_of((first, second, 1.0)))
    for said, wanted in ((text, [second]), ("unheard", []), ("…", [])):
        query = SearchQuery(said, "bm25", expand=step())
        (expanded,) = asked.expander(links).expand([query], [None], found)
        assert [hit.document_id for hit in expanded] == [first, *wanted]


def test_a_pipeline_tells_where_links_put_a_document_and_which_words_it_has(asked: Asked) -> None:
    links = Pairs(random_pairs(asked.rng, 200, 1.0))
    retriever = Retriever(asked.both.index, asked.both.meta, expander=asked.expander(links))
    query = SearchQuery("word1 word2 word3 word4", "bm25", top_k=5, expand=step(weight=0.9))
    (plain,) = retriever.answer([query], [None])
    reasons = explain(retriever, query, None)
    assert [one.hit.document_id for one in reasons] == [hit.document_id for hit in plain]
    assert all(hit.trail == () for hit in plain) and len(plain) > 5
    for rank, one in enumerate(reasons, 1):
        assert one.hit.trail[-1] == Place("links", rank, one.hit.score)
        assert one.words and sum(word.weight for word in one.words) > 0, "also of documents that links brought in"
    (others,) = retriever.answer([replace(query, expand=None)], [None])
    brought = [one for one in reasons if one.hit.document_id not in {hit.document_id for hit in others}]
    assert brought and all(one.lists == () for one in brought)
