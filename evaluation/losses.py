"""Query by query: where a pipeline beats another, and what it found in the place of what was wanted.

Shapes: Q queries.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from data.labels import label
from evaluation.metrics import Values
from evaluation.ranking import Qrels
from retrieval.hits import SearchHit

MOST = 10  # queries shown of each pipeline
SHOWN = 3  # documents shown of a query, of either kind
SHOWN_CHARS = 160  # of a document's text
POINTS = 200  # of a win/loss curve: enough for a chart, whatever the number of queries
EQUAL = 1e-9


def win_loss(own_Q: Values, other_Q: Values) -> dict[str, Any]:
    """How often one pipeline's value is above another's, and by how much.

    Returns:
        ``better``, ``equal`` and ``worse`` (queries), and ``differences``: own - other, from the largest to the
        smallest; of many queries, as many of them as fit a chart, evenly spaced.
    """
    differences = np.sort(own_Q - other_Q)[::-1]
    places = np.linspace(0, len(differences) - 1, min(POINTS, len(differences))).round().astype(np.int64)
    better, worse = int((differences > EQUAL).sum()), int((differences < -EQUAL).sum())
    return {
        "better": better,
        "equal": len(differences) - better - worse,
        "worse": worse,
        "differences": [round(value, 4) for value in differences[places].tolist()],
    }


def worst_losses(
    search: Callable[[Sequence[str], Any, int], Sequence[Sequence[SearchHit]]],
    queries: Mapping[str, str],
    qrels: Qrels,
    values: Mapping[str, Values],
    default: str,
    depth: int,
) -> dict[str, list[dict[str, Any]]]:
    """The queries that each pipeline loses worst, with what was wanted and what it found.

    A pipeline is held against the default one, and that one against the best of the others on each query. Results are
    asked for anew: those of all queries would not fit the memory.

    Args:
        search: queries, pipeline and number of documents -> the hits of each query, best first.
        queries: query id -> text, in the order of ``values``.
        qrels: judgements of these queries.
        values: pipeline -> float64 (Q,) of the metric that decides.
        default: the pipeline that the others are held against.
        depth: documents retrieved.

    Returns:
        For each pipeline at most ten rows, the worst first: ``query`` (id), ``text``, ``value``, ``against`` (the
        better pipeline), ``against_value``; ``wanted``: the relevant documents that it found, with ``rank_against`` and
        this pipeline's ``rank`` or None; ``found``: this pipeline's first documents, each with ``relevant``.
    """
    ids = list(queries)
    losses: dict[str, list[dict[str, Any]]] = {}
    for mode, own_Q in values.items():
        rivals = [default] if mode != default else [other for other in values if other != mode]
        losses[mode] = []
        if not rivals:
            continue
        theirs_RQ = np.stack([values[rival] for rival in rivals])
        loss_Q = theirs_RQ.max(axis=0) - own_Q
        worst = [n for n in np.argsort(-loss_Q, kind="stable")[:MOST].tolist() if loss_Q[n] > EQUAL]
        found = search([queries[ids[n]] for n in worst], mode, depth) if worst else []
        for n, hits in zip(worst, found, strict=True):
            query, rival = ids[n], rivals[int(theirs_RQ[:, n].argmax())]
            [rival_hits] = search([queries[query]], rival, depth)
            losses[mode].append(
                {
                    "query": query,
                    "text": queries[query],
                    "value": float(own_Q[n]),
                    "against": rival,
                    "against_value": float(values[rival][n]),
                    **_instead(hits, rival_hits, qrels[query]),
                }
            )
    return losses


def _instead(hits: Sequence[SearchHit], rival_hits: Sequence[SearchHit], grades: Mapping[str, int]) -> dict[str, Any]:
    """What was wanted, and what was found in its place."""
    ranks = {hit.document_id: rank for rank, hit in enumerate(hits, start=1)}
    wanted = [
        {**_shown(hit), "rank": ranks.get(hit.document_id), "rank_against": rank}
        for rank, hit in enumerate(rival_hits, start=1)
        if grades.get(hit.document_id, 0) > 0
    ]
    found = [{**_shown(hit), "relevant": grades.get(hit.document_id, 0) > 0} for hit in hits[:SHOWN]]
    return {"wanted": wanted[:SHOWN], "found": found}


def _shown(hit: SearchHit) -> dict[str, str]:
    text = " ".join(hit.text.split())
    beginning = text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS].rsplit(" ", 1)[0] + " …"
    return {"id": hit.document_id, "name": label(hit.document_id, hit.title), "text": beginning}
