"""Passages that were found, as documents."""

from retrieval.hits import best_passages
from retrieval.index import Hit

KEY = 0


def test_a_passage_with_a_parent_is_answered_with_it() -> None:
    parent = {"id": "p", "text": "all of it", "start": 0, "end": 9}
    child = {"passage_id": "c2", "document_id": "d", "title": "T", "text": "of", "start": 4, "end": 6, "metadata": {}}
    alone = {**child, "passage_id": "c3", "document_id": "e"}
    first, second = best_passages(
        [Hit(KEY, 0.9, {**child, "parent": parent}), Hit(KEY, 0.8, child), Hit(KEY, 0.7, alone)]
    )
    assert (first.document_id, first.passage_id, first.text, first.start, first.end) == ("d", "p", "all of it", 0, 9)
    assert (second.document_id, second.passage_id, second.text, second.start, second.end) == ("e", "c3", "of", 4, 6)
