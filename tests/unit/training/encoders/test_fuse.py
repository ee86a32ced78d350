"""What the attention of an ensemble is learned from."""

from pathlib import Path

import numpy as np
import pytest

from data.errors import InputError
from tests.unit_tables import write_tables
from training.encoders.config import FuseConfig
from training.encoders.fuse import FuseExamples


@pytest.mark.parametrize(
    ("answers", "learn_from", "remedy"),
    [
        (True, "links", "Change fuse.learn_from, or use fusion: concatenation, which learns nothing."),
        (False, "links", "Use fusion: concatenation, which learns nothing."),
        (False, "auto", "Use fusion: concatenation, which learns nothing."),
    ],
)
def test_only_what_the_corpus_has_is_offered_to_learn_from(
    answers: bool, learn_from: str, remedy: str, tmp_path: Path
) -> None:
    corpus = write_tables(tmp_path, links=0, answers=answers)
    with pytest.raises(InputError, match="nothing to learn from") as raised:
        FuseExamples(corpus, FuseConfig.model_validate({"learn_from": learn_from}))
    assert raised.value.remedy == remedy


def test_links_learned_from_are_training_links_alone(tmp_path: Path) -> None:
    corpus = write_tables(tmp_path)
    examples = FuseExamples(corpus, FuseConfig(learn_from="links"))
    encoded = examples.encoded(lambda texts: [np.eye(len(texts), dtype=np.float32)], lambda texts: [])
    assert encoded.same and len(encoded.pairs) == len(corpus.linked())


def test_pairs_of_held_out_questions_are_not_marked_as_seen(tmp_path: Path) -> None:
    examples = FuseExamples(write_tables(tmp_path), FuseConfig())
    everything, held_out = examples.seen(np.empty(0, np.int64)), np.unique(examples.pairs[:, 0])[:10]
    asked = np.isin(examples.pairs[:, 0], held_out)
    assert len(everything) == len(examples.pairs) and 0 < asked.sum() < len(asked)
    assert not np.isin(everything[asked], examples.seen(held_out)).any()
    assert np.isin(everything[~asked], examples.seen(held_out)).all()


def test_questions_come_before_links_and_other_documents_are_drawn_beside_theirs(tmp_path: Path) -> None:
    examples = FuseExamples(write_tables(tmp_path), FuseConfig(max_documents=90))
    encoded = examples.encoded(
        lambda texts: [np.zeros((len(texts), 1), np.float32)], lambda texts: [np.ones((len(texts), 1), np.float32)]
    )
    assert not encoded.same and len(encoded.pairs) == 75 and len(encoded.questions[0]) == 50
    assert len(encoded.documents[0]) == 90
