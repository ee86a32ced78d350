"""What a trained model says of single pairs and of new documents is what discovery says of them."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from data.graph.graph import load_graph
from discovery.candidates import Candidates
from discovery.predictor import LinkPredictor, links_of
from discovery.shards import score_both_ways
from discovery.texts import texts_of
from discovery.unseen import NewDocument, with_documents
from evaluation.calibration import Calibrator
from tests.unit.discovery.test_unseen import DIM, corpus, encode
from training.links.nodes import load_model
from training.links.scoring import LinkScorer
from training.links.states import states_alone, states_of

assert corpus is not None  # a fixture
Corpus = tuple[Path, Path, Path]
CALIBRATOR = Calibrator("platt", np.empty(0), np.empty(0), 0.5, -1.0)


@pytest.fixture(scope="module")
def predictor(corpus: Corpus) -> LinkPredictor:
    _, graph, train = corpus
    CALIBRATOR.save(train / "calibrator.json")
    return LinkPredictor(graph, train, train / "calibrator.json")


def test_pairs_have_the_scores_and_probabilities_of_discovery(corpus: Corpus, predictor: LinkPredictor) -> None:
    rng = np.random.default_rng(1)
    graph, scorer = load_graph(corpus[1]), LinkScorer.load(corpus[2], corpus[1])
    low, high = np.sort(rng.choice(len(graph.ids), (200, 2)), axis=1).T
    low, high = low[low != high], high[low != high]
    forward, backward = score_both_ways(scorer, Candidates(low, high, np.zeros(len(low), np.uint8)), 1000)
    turned = rng.random(len(low)) < 0.5
    asked = [
        (graph.ids[b], graph.ids[a]) if t else (graph.ids[a], graph.ids[b])
        for a, b, t in zip(low, high, turned, strict=True)
    ]
    rows = predictor.pairs(asked, partial(texts_of, corpus[0]))
    np.testing.assert_allclose([row["score"] for row in rows], (forward + backward) / 2, rtol=1e-5)
    np.testing.assert_allclose([row["probability"] for row in rows], CALIBRATOR((forward + backward) / 2), rtol=1e-5)
    assert [(row["source"], row["target"]) for row in rows] == asked
    assert [row["outgoing"] for row in rows] == ((forward >= backward) != turned).tolist()
    assert all(row["reason"].startswith(("Both are linked with", "No neighbour")) for row in rows)
    alone = [predictor.pairs([pair])[0]["score"] for pair in asked[:5]]
    np.testing.assert_allclose(alone, [row["score"] for row in rows[:5]], rtol=1e-5)


def test_pairs_say_what_is_known_and_what_the_model_was_shown(predictor: LinkPredictor) -> None:
    graph = predictor.graph
    shown, held = (next(zip(*graph.links(part), strict=True)) for part in ("train", "valid"))
    free = next(n for n in range(1, len(graph.ids)) if graph.known_graph.adjacency[0, n] == 0)
    rows = predictor.pairs([(graph.ids[b], graph.ids[a]) for a, b in (shown, held, (0, free))])
    assert [(row["known"], row["seen"]) for row in rows] == [(True, True), (True, False), (False, False)]
    assert predictor.pairs([]) == []


def test_words_that_both_have_are_those_rarest_in_the_corpus(corpus: Corpus, predictor: LinkPredictor) -> None:
    (row,) = predictor.pairs([("d0_3", "d2_3")], partial(texts_of, corpus[0]))
    assert row["terms"] == ["wordd"] and "“wordd”" in row["reason"]
    assert predictor.pairs([("d0_3", "d2_3")])[0]["terms"] == []


def test_states_of_new_documents_without_links_are_those_of_the_whole_extended_graph(
    corpus: Corpus, predictor: LinkPredictor
) -> None:
    new = [NewDocument("n1", "", "moon and tide"), NewDocument("n2", "", "rook")]
    extended = with_documents(predictor.graph, new, encode(["moon and tide", "rook"]), predictor._vocabulary)
    model = load_model(corpus[2] / "model.safetensors")
    whole = states_of(model, extended)
    np.testing.assert_allclose(states_alone(model, extended, len(predictor.graph.ids)), whole[-2:], atol=1e-5)
    np.testing.assert_allclose(predictor._states(extended), whole, atol=1e-5)


@pytest.mark.parametrize("links", [(), ("d3_0", "d3_1")], ids=["text alone", "with links"])
def test_named_targets_have_the_scores_of_the_best(
    corpus: Corpus, predictor: LinkPredictor, links: tuple[str, ...]
) -> None:
    documents, graph, train = corpus
    new = NewDocument("new", "Chess", "a rook takes a pawn wordd", links)
    (best,) = links_of([new], graph, train, encode, train / "calibrator.json", documents, top=8)
    vector = encode([new.whole])
    texts = partial(texts_of, documents)
    assert predictor.links_of([new], vector, texts, top=8) == [best]
    backwards = [row["target"] for row in reversed(best)]
    (named,) = predictor.links_of([new], vector, texts, targets=backwards)
    for row, known in zip(named, reversed(best), strict=True):
        assert {**row, "score": 0, "probability": 0} == {**known, "score": 0, "probability": 0}
        assert row["score"] == pytest.approx(known["score"], rel=1e-5)
        assert row["probability"] == pytest.approx(known["probability"], rel=1e-5)


def test_no_text_and_no_links_is_answered_too(predictor: LinkPredictor) -> None:
    (rows,) = predictor.links_of([NewDocument("new", "", "")], np.zeros((1, DIM), np.float32), top=3)
    assert len(rows) == 3 and all(np.isfinite(row["probability"]) for row in rows)
