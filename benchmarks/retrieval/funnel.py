"""The funnel beside what it saves: token vectors of the best hundred against those of every passage."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.rows import Row
from benchmarks.whole_runs import RUNS
from data.partitions import partitions, read_qrels, read_table
from data.vectors.multivectors import read_multivectors
from data.vectors.quantise import Floats, decode
from evaluation.ranking import evaluate_ranking
from ray_apps.config import load_run
from ray_apps.encoder.check import usable_encoder
from ray_apps.plan import Plan
from retrieval.maxsim import maxsim
from retrieval.query import SearchQuery
from retrieval.search import Retriever, open_retriever

RUN, DIM, TOP_K = "scifact", 96, 10
TIMED, ROUNDS = 20, 3  # questions one after another


def measure() -> list[Row]:
    """nDCG@10 and time of a question, from its vectors on: both lists and then tokens, and tokens of all passages."""
    plan = Plan(load_run(RUNS / f"{RUN}.yaml", ["--late.dim", str(DIM)]))
    tables, late = plan.bring("ingest").path, plan.bring("late").path
    qrels = read_qrels(tables / "qrels")
    asked = {row["id"]: row["text"] for row in read_table(tables / "queries", ["id", "text"]).to_pylist()}
    asked = {id_: text for id_, text in asked.items() if id_ in qrels}
    passages = read_table(plan.artifact("chunk").path / "passages", ["id", "document_id"])
    document_of = dict(zip(passages["id"].to_pylist(), passages["document_id"].to_pylist(), strict=True))
    retriever = open_retriever(plan.bring("index").path, usable_encoder(plan))
    try:
        vectors, tokens = retriever.encoded(list(asked.values()), "late")
        assert tokens is not None
        every = Every(late / "multivectors", document_of)
        ways = {"funnel": funnel(retriever, list(asked.values()), vectors, tokens), "every": every.asked(tokens)}
        found = {name: [way(row) for row in range(len(asked))] for name, way in ways.items()}
        ndcg = {
            name: evaluate_ranking(
                {
                    id_: {document: -float(n) for n, document in enumerate(documents)}
                    for id_, documents in zip(asked, of_all, strict=True)
                },
                qrels,
            ).means["ndcg@10"]
            for name, of_all in found.items()
        }
        seconds = timed(ways)
    finally:
        retriever.index.close()
    what = f"{len(document_of):,} passages of {RUN}, {len(asked)} questions, {DIM} dimensions a token"
    told = f"funnel {ndcg['funnel']:.4f} in {1000 * seconds['funnel']:.1f} ms, "
    told += f"all passages {ndcg['every']:.4f} in {1000 * seconds['every']:.1f} ms"
    return [
        Row(
            id="retrieval.funnel_quality",
            what=f"nDCG@10 of MaxSim over hybrid's best {retriever.meta.config.prefetch}, of that over all, {what}",
            value=round(ndcg["funnel"] / ndcg["every"], 4),
            unit="times",
            at_least=0.99,
            peer=told,
        ),
        Row(
            id="retrieval.funnel_time",
            what=f"time of a question of the same, from its vectors on, of that over all, {what}",
            value=round(seconds["funnel"] / seconds["every"], 4),
            unit="times",
            at_most=0.1,
            peer=told,
        ),
    ]


class Every:
    """MaxSim over every passage, token vectors as float32 in memory.

    Args:
        folder: of the table of multivectors.
        document_of: the document of each passage.
    """

    def __init__(self, folder: Path, document_of: dict[str, str]) -> None:
        stored = [some for path in partitions(folder) for some in read_multivectors(path)]
        self._parts = [(decode(part.tokens, part.storage), part.starts) for part in stored]
        self._documents = [document_of[id_] for part in stored for id_ in part.ids]

    def asked(self, tokens: Sequence[Floats]) -> Callable[[int], list[str]]:
        """What answers a question by its place with the best documents."""

        def answer(row: int) -> list[str]:
            ends = np.array([0, len(tokens[row])])
            scores = np.concatenate([maxsim(tokens[row], ends, some, starts)[0] for some, starts in self._parts])
            order = np.argsort(-scores, kind="stable")[: 4 * TOP_K]
            return list(dict.fromkeys(self._documents[place] for place in order))[:TOP_K]

        return answer


def funnel(
    retriever: Retriever, texts: Sequence[str], vectors: Sequence[Floats | None], tokens: Sequence[Floats]
) -> Callable[[int], list[str]]:
    """The same by mode late."""

    def answer(row: int) -> list[str]:
        (hits,) = retriever.answer([SearchQuery(texts[row], "late", TOP_K)], [vectors[row]], [tokens[row]])
        return [hit.document_id for hit in hits]

    return answer


def timed(ways: dict[str, Callable[[int], list[str]]]) -> dict[str, float]:
    """Seconds of a question each way, median of rounds in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            started = time.perf_counter()
            for row in range(TIMED):
                way(row)
            seconds[name].append((time.perf_counter() - started) / TIMED)
    return {name: float(np.median(of_one)) for name, of_one in seconds.items()}
