"""Ways to fuse judged on questions with known answers; each list is asked for once, and fused in every way."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from data.progress import progress
from evaluation.ranking import RankingFigures, evaluate_ranking
from retrieval.config import ListName
from retrieval.fused import Lists
from retrieval.fusion import fuse
from retrieval.index import Key
from retrieval.query import SearchQuery
from retrieval.search import Retriever
from retrieval.weights import Fusion

METRIC = "ndcg@10"
SHARES = tuple(share / 20 for share in range(21))  # of the list of vectors
CONSTANTS = (10, 60)  # of reciprocal ranks


@dataclass(frozen=True)
class AskedLists:
    """What an index has for questions.

    Attributes:
        lists: by question.
        depth: hits that each list was asked for.
    """

    lists: Mapping[str, Lists]
    depth: int

    def run(self, fusion: Fusion) -> dict[str, dict[str, float]]:
        """Documents of each question by their best passage, with scores that fall from the first on."""
        return {question: _documents(fuse(lists, fusion, self.depth), lists) for question, lists in self.lists.items()}

    def judged(self, fusion: Fusion, qrels: Mapping[str, Mapping[str, int]]) -> RankingFigures:
        """Figures of a way to fuse.

        Args:
            fusion: the way.
            qrels: question -> document -> grade.
        """
        return evaluate_ranking(self.run(fusion), {question: qrels[question] for question in self.lists})


def ask_lists(retriever: Retriever, questions: Mapping[str, str], batch: int) -> AskedLists:
    """Ask for both lists of each question, as deep as the index's fusion looks.

    Args:
        retriever: with an encoder.
        questions: id -> text.
        batch: questions at once.
    """
    depth = retriever.meta.config.prefetch
    lists: dict[str, Lists] = {}
    with progress("questions", len(questions), "questions") as counted:
        waiting = iter(questions.items())
        while some := list(islice(waiting, batch)):
            vectors, _ = retriever.encoded([text for _, text in some], "hybrid")
            asked = [
                retriever.question(SearchQuery(text, "hybrid", 1), vector, None, 1, depth)
                for (_, text), vector in zip(some, vectors, strict=True)
            ]
            found = iter(retriever.index.lists([query for query in asked if query is not None]))
            for (question, _), query in zip(some, asked, strict=True):
                lists[question] = {} if query is None else next(found)
            counted.advance(len(some))
    return AskedLists(lists, depth)


def ways() -> Iterable[Fusion]:
    """The ways that are tried: each method with each share of the list of vectors."""
    for share in SHARES:
        weights: Mapping[ListName, float] = {"dense": share, "bm25": 1 - share}
        yield Fusion.scaled("sum", weights)
        yield Fusion.scaled("dbsf", weights)
        yield from (Fusion.scaled("rrf", weights, k) for k in CONSTANTS)


def _documents(ranked: Sequence[tuple[Key, float]], lists: Lists) -> dict[str, float]:
    document_of = {hit.key: str(hit.payload["document_id"]) for hits in lists.values() for hit in hits}
    best: dict[str, float] = {}
    for place, (passage, _) in enumerate(ranked):
        best.setdefault(document_of[passage], -float(place))
    return best
