"""The attention learns which member to trust for which text, and is never worse on validation than it began."""

import numpy as np
import pytest

from data.encoders.ensemble.fusion import Concatenation, shares
from data.errors import InputError
from data.matrices import unit_rows
from training.encoders.config import FuseConfig
from training.encoders.fusion import AttentionModel, Examples, judge, learn, split

QUESTIONS, DOCUMENTS, DIM = 120, 240, 16


def two_kinds(seed: int = 0) -> Examples:
    """Half of the questions are answered by the first member's space, half by the second's; a mark says which.

    Where a member does not know, its vector is noise; its first coordinate marks that, so attention can learn it.
    """
    rng = np.random.default_rng(seed)
    members_q, members_d = [], []
    kind_q, kind_d = np.arange(QUESTIONS) % 2, np.arange(DOCUMENTS) % 2
    topic = rng.standard_normal((DOCUMENTS, DIM))
    for member in range(2):
        noise_q, noise_d = rng.standard_normal((QUESTIONS, DIM)), rng.standard_normal((DOCUMENTS, DIM))
        knows_q, knows_d = kind_q == member, kind_d == member
        q = np.where(knows_q[:, None], topic[:QUESTIONS] + 0.8 * noise_q, 2 * noise_q)
        d = np.where(knows_d[:, None], topic, 2 * noise_d)
        members_q.append(unit_rows(np.column_stack([np.where(knows_q, 4.0, -4.0), q]).astype(np.float32)))
        members_d.append(unit_rows(np.column_stack([np.where(knows_d, 4.0, -4.0), d]).astype(np.float32)))
    pairs = np.column_stack([np.arange(QUESTIONS), np.arange(QUESTIONS)])
    return Examples(members_q, members_d, pairs)


def test_what_is_learned_beats_the_concatenation_and_each_member() -> None:
    examples = two_kinds()
    learned = learn(examples, FuseConfig(epochs=25, batch_pairs=16, learning_rate=0.01, test_share=0.3))
    plain = Concatenation(shares(None, 2), (DIM + 1, DIM + 1))
    figures = judge(examples, learned.test, {"plain": plain, "learned": learned.fusion})
    assert figures["learned"] > figures["plain"] + 0.05
    assert figures["learned"] > max(figures["member 1"], figures["member 2"]) + 0.1
    assert learned.epoch > 0 and learned.history[learned.epoch] == max(learned.history)


def test_it_begins_as_the_weighted_concatenation() -> None:
    examples = two_kinds()
    initial = AttentionModel((DIM + 1, DIM + 1), shares([3, 1], 2)).fusion()
    plain = Concatenation(shares([3, 1], 2), (DIM + 1, DIM + 1))
    np.testing.assert_allclose(initial(examples.documents), plain(examples.documents), atol=1e-5)


def test_the_same_seed_learns_the_same() -> None:
    first, second = (learn(two_kinds(), FuseConfig(epochs=2, learning_rate=0.02)) for _ in range(2))
    assert first.history == second.history
    np.testing.assert_array_equal(first.fusion.biases, second.fusion.biases)


def test_answers_that_say_nothing_leave_the_best_epoch_where_validation_is_best() -> None:
    examples = two_kinds()
    shuffled = np.random.default_rng(1).permutation(QUESTIONS)
    learned = learn(
        Examples(examples.questions, examples.documents, np.column_stack([np.arange(QUESTIONS), shuffled])),
        FuseConfig(epochs=10, patience=2),
    )
    assert learned.history[learned.epoch] == max(learned.history) >= learned.history[0]
    assert len(learned.history) - 1 - learned.epoch <= 2


def test_no_question_is_both_learned_from_and_judged_by() -> None:
    pairs = np.column_stack([np.repeat(np.arange(50), 3), np.arange(150)])
    parts = split(pairs, FuseConfig())
    assert [len(part) for part in parts] == [34, 8, 8]
    assert sorted(np.concatenate(parts)) == list(range(50))


def test_a_document_is_not_found_by_itself_where_links_are_learned() -> None:
    examples = two_kinds()
    links = np.column_stack([np.arange(0, 100, 2), np.arange(2, 102, 2)])
    same = Examples(examples.documents, examples.documents, links, same=True)
    plain = Concatenation(shares(None, 2), (DIM + 1, DIM + 1))
    itself = Examples(same.questions, same.documents, np.column_stack([links[:, 0]] * 2), same=True)
    assert judge(itself, links[:, 0], {"plain": plain})["plain"] == 0.0
    assert len(learn(same, FuseConfig(epochs=2)).history) == 3


def test_too_few_questions_are_told() -> None:
    examples = two_kinds()
    few = Examples(examples.questions, examples.documents, examples.pairs[:3])
    with pytest.raises(InputError, match="3 questions with answers are too few"):
        learn(few, FuseConfig())
