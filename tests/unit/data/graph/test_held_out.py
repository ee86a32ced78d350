"""Links held out by time with an embargo, and by document: nothing that is judged has been learnt from."""

from dataclasses import replace

import numpy as np
import pytest

from data.graph.graph import GraphArtifact
from data.graph.split import BROUGHT, DAY_US, NO_TIME, TEST, TRAIN, UNUSED, VALID, SplitConfig, split_links

N, M = 300, 1500


def random_links(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    sources, targets = np.random.default_rng(seed).integers(0, N, (2, M))
    return sources, targets


def unseen(**keys: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sources, targets = random_links()
    config = SplitConfig.model_validate({"split": "unseen", "valid_fraction": 0.1, "test_fraction": 0.2, **keys})
    return sources, targets, split_links(sources, targets, config)


def ends(sources: np.ndarray, targets: np.ndarray, chosen: np.ndarray) -> set[int]:
    return set(np.concatenate([sources[chosen], targets[chosen]]).tolist())


def test_unseen_documents_have_no_training_link() -> None:
    sources, targets, split = unseen()
    trained = ends(sources, targets, split == TRAIN)
    linked = ends(sources, targets, sources != targets)
    held_out = linked - trained
    assert 80 <= len(held_out) <= 100  # three in ten, and whoever is linked with them alone
    either = np.isin(sources, list(held_out)) | np.isin(targets, list(held_out))
    assert set(split[either].tolist()) == {VALID, TEST}
    assert (split == BROUGHT).sum() == (split == UNUSED).sum() == 0


def test_a_pair_belongs_to_the_end_that_is_held_out_more_strictly() -> None:
    """So no link of a document that is held out for the test is trained or validated on."""
    sources, targets, split = unseen()
    apart = sources != targets
    sources, targets, split = sources[apart], targets[apart], split[apart]
    trained, validated = ends(sources, targets, split == TRAIN), ends(sources, targets, split == VALID)
    tested = ends(sources, targets, split == TEST) - trained - validated
    assert len(tested) > 30
    touched = np.isin(sources, list(tested)) | np.isin(targets, list(tested))
    assert set(split[touched].tolist()) == {TEST}


@pytest.mark.parametrize("fraction", [0.3, 0.9])
def test_some_links_are_brought(fraction: float) -> None:
    _, _, split = unseen(brought_fraction=fraction)
    _, _, without = unseen()
    assert ((split == TRAIN) == (without == TRAIN)).all()
    share = (split == BROUGHT).sum() / (without != TRAIN).sum()
    assert abs(share - fraction) < 0.05


def test_both_directions_of_a_pair_stay_together() -> None:
    sources, targets = random_links()
    both = np.concatenate([sources, targets]), np.concatenate([targets, sources])
    split = split_links(*both, SplitConfig(split="unseen", brought_fraction=0.5))
    assert (split[:M] == split[M:]).all()


@pytest.mark.parametrize("how", ["unseen", "time"])
def test_no_links_are_split_into_nothing(how: str) -> None:
    none = np.zeros(0, np.int64)
    config = SplitConfig.model_validate({"split": how, "embargo_days": 1})
    assert split_links(none, none, config, none).shape == (0,)


def test_an_embargo_takes_out_what_came_shortly_before() -> None:
    days = np.arange(100)
    config = SplitConfig(split="time", valid_fraction=0.1, test_fraction=0.1, embargo_days=7)
    split = split_links(days, days + 100, config, days * DAY_US)
    assert days[split == VALID].min() == 80 and days[split == TEST].min() == 90
    assert days[split == UNUSED].tolist() == list(range(74, 80))
    assert days[split == TRAIN].max() == 73


def test_links_without_a_time_are_under_no_embargo() -> None:
    time = np.array([NO_TIME] * 6 + [0, 1, 2, 3])
    split = split_links(np.arange(10), np.arange(10) + 10, SplitConfig(split="time", embargo_days=1e5), time)
    assert split.tolist() == [TRAIN] * 6 + [UNUSED] * 3 + [TEST]  # of ten, half a link for validation is none


def test_what_scorers_see_when_judged() -> None:
    sources, targets, split = unseen(brought_fraction=0.5)
    pairs = np.column_stack([sources, targets])
    graph = GraphArtifact(
        ids=[""] * N,
        titles=[""] * N,
        vectors=np.zeros((N, 0), np.float32),
        pairs=pairs,
        split=split,
        relation=np.zeros(M, np.int32),
        relation_names=["r"],
    )
    seen = {tuple(sorted(pair)) for pair in pairs[np.isin(split, [TRAIN, BROUGHT])].tolist() if pair[0] != pair[1]}
    assert graph.seen_graph.degrees.sum() == 2 * len(seen) > graph.training_graph.degrees.sum()
    asked = set(map(tuple, np.sort(np.column_stack(graph.links("test")), axis=1).tolist()))
    assert asked and not asked & seen
    random = split_links(sources, targets, SplitConfig())
    plain = replace(graph, split=random)
    assert plain.seen_graph is plain.training_graph
