"""What is written of each question is what the first stage found, and the answers that it missed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from retrieval.hits import SearchHit
from training.cross_encoder.lists import RankedList, read_lists, write_lists
from training.cross_encoder.questions import Question

WHOLE = {f"d{n}": f"Title {n}\nwhole text {n}" for n in range(12)}


def found(question: str) -> list[SearchHit]:
    """Documents 0 to 4, of which a passage each."""
    return [SearchHit(f"d{n}", f"p{n}", f"Title {n}", f"passage {n}", 0, 9, 1.0, {}) for n in range(5)]


def search(questions: Sequence[str]) -> list[list[SearchHit]]:
    return [found(question) if question != "nothing" else [] for question in questions]


def whole(wanted: set[str]) -> dict[str, str]:
    return {id_: WHOLE[id_] for id_ in wanted if id_ in WHOLE}


QUESTIONS = [
    Question("one is found", {"d1": 2}, False),
    Question("one is missed, one unknown", {"d9": 1, "elsewhere": 1}, False),
    Question("left out", {"d2": 1}, True, left_out=frozenset({"d0", "d3"})),
    Question("another text", {"d4": 1}, False, instead={"d4": "shorter"}),
    Question("another text, missed", {"d7": 1}, False, instead={"d7": "shorter too"}),
    Question("unknown answers alone", {"elsewhere": 1}, False),
    Question("nothing", {"d1": 1}, True),
    Question("nothing", {"d1": 1}, False),
]


def described(one: RankedList, texts: Sequence[str]) -> tuple[list[str], list[int], int]:
    return [texts[place] for place in one.places], one.grades.tolist(), one.found


def test_lists_come_back_as_they_were_found(tmp_path: Path) -> None:
    counts = write_lists(QUESTIONS, search, whole, tmp_path)
    assert counts == {"training_questions": 4, "valid_questions": 2}
    lists = read_lists(tmp_path, 10, 0)
    texts = lists.texts.to_pylist()
    assert len(texts) == len(set(texts)), "each text is kept once"
    passages = [f"Title {n}\npassage {n}" for n in range(5)]
    assert [one.question for one in lists.train] == [
        "one is found",
        "one is missed, one unknown",
        "another text",
        "another text, missed",
    ]
    first, missed, other, both = lists.train
    assert described(first, texts) == (passages, [0, 2, 0, 0, 0], 5)
    assert described(missed, texts) == ([*passages, WHOLE["d9"]], [0, 0, 0, 0, 0, 1], 5)
    assert described(other, texts) == ([*passages[:4], "shorter"], [0, 0, 0, 0, 1], 5)
    assert described(both, texts) == ([*passages, "shorter too"], [0, 0, 0, 0, 0, 1], 5)
    assert [one.ranked for one in lists.train] == [True, True, False, False]
    left, empty = lists.valid
    assert described(left, texts) == ([passages[1], passages[2], passages[4]], [0, 1, 0], 3)
    assert described(empty, texts) == ([WHOLE["d1"]], [1], 0)
    assert first.answers.tolist() == [1] and first.others.tolist() == [0, 2, 3, 4]
    assert missed.answers.tolist() == [5] and lists.text(int(missed.places[5])) == WHOLE["d9"]
    assert missed.ranks(np.array([0, 4, 5])).tolist() == [1, 5, 6] and both.ranks(np.array([5])).tolist() == [6]


def test_held_out_lists_are_sampled_with_the_seed(tmp_path: Path) -> None:
    asked = [Question(f"question {n}", {"d1": 1}, True) for n in range(30)]
    write_lists(asked, search, whole, tmp_path)
    few = [one.question for one in read_lists(tmp_path, 7, 0).valid]
    assert len(few) == 7 and few == [one.question for one in read_lists(tmp_path, 7, 0).valid]
    assert few != [one.question for one in read_lists(tmp_path, 7, 1).valid]
    assert np.all([one.found == 5 for one in read_lists(tmp_path, 99, 0).valid])
