"""Features of capabilities: equal to a count by hand, and blind to what came later."""

import networkx as nx
import numpy as np
import pytest

from data.capabilities.catalogue import Catalogue
from data.capabilities.features import NAMES, PAST, features_before, features_of
from data.capabilities.structure import clustering, pagerank
from data.capabilities.traces import Traces
from tests.unit.data.capabilities.catalogues import catalogue_of, trace, traces_of

DAY_S = 86_400
NOW_S = 1_000 * DAY_S
TOOLS_OF = {"a": ["t1"], "b": ["t1", "t2"], "c": ["t3"], "d": ["t2", "t1", "t4"]}


def random_traces(catalogue: Catalogue, seed: int, count: int = 200) -> Traces:
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        given: dict[str, object] = {
            "outcome": rng.choice(["success", "partial", "failure", None], p=[0.4, 0.2, 0.3, 0.1])
        }
        if rng.random() < 0.9:  # few moments, so that many are of one time
            given["time"] = NOW_S - int(rng.integers(1, 45)) * DAY_S
        if rng.random() < 0.5:
            given |= {"seconds": float(rng.integers(0, 3 * DAY_S)), "rating": float(rng.random())}
        rows.append(trace(number, str(rng.choice(catalogue.capabilities)), **given))
    return traces_of(catalogue, rows)


def by_hand(traces: Traces, capability: int, row: int, time: int) -> list[float]:
    """The features of the past of a capability at a time, or of all before ``row`` where it is not known."""

    def known(number: int) -> int | None:
        seconds = traces.seconds[number]
        return (
            None if traces.time[number] < 0 else int(traces.time[number] + (0 if np.isnan(seconds) else seconds) * 1e6)
        )

    before = []
    for number in range(len(traces)):
        at = known(number)
        earlier = (time >= 0 or number < row) if at is None else (0 <= at < time)
        if traces.chosen[number] == capability and earlier:
            before.append(number)
    made = []
    for days in (7, 30, None):
        within = [
            n for n in before if days is None or ((at := known(n)) is not None and at >= time - days * DAY_S * 10**6)
        ]
        rewards = [traces.reward[n] for n in within if not np.isnan(traces.reward[n])]
        made += [np.log1p(len(within)), (sum(rewards) + 1) / (len(rewards) + 2)]
    ratings = [traces.rating[n] for n in before if not np.isnan(traces.rating[n])]
    seconds = [np.log1p(traces.seconds[n]) for n in before if not np.isnan(traces.seconds[n])]
    return [*made, (sum(ratings) + 1) / (len(ratings) + 2), sum(seconds) / max(1, len(seconds))]


@pytest.mark.parametrize("seed", range(3))
def test_features_are_those_of_a_count_by_hand(seed: int) -> None:
    catalogue = catalogue_of(TOOLS_OF)
    traces = random_traces(catalogue, seed)
    made = features_of(catalogue, traces, NOW_S * 10**6)
    assert made.names == NAMES and made.values_CF.shape == (4, len(NAMES)) and made.values_CF.dtype == np.float32
    expected = [by_hand(traces, capability, len(traces), NOW_S * 10**6) for capability in range(4)]
    np.testing.assert_allclose(made.values_CF[:, : len(PAST)], expected, rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_features_before_a_trace_are_those_of_a_count_by_hand(seed: int) -> None:
    catalogue = catalogue_of(TOOLS_OF)
    traces = random_traces(catalogue, seed)
    made = features_before(catalogue, traces)
    expected = [by_hand(traces, int(traces.chosen[row]), row, int(traces.time[row])) for row in range(len(traces))]
    np.testing.assert_allclose(made[:, : len(PAST)], expected, rtol=1e-5)


def test_what_came_of_a_trace_and_of_later_ones_is_not_in_its_features() -> None:
    catalogue = catalogue_of(TOOLS_OF)
    rows = [trace(n, "a", time=NOW_S + n * 60, outcome="success", seconds=600.0, rating=1.0) for n in range(30)]
    other = [
        row | ({"outcome": "failure", "rating": 0.0, "seconds": 0.5} if n >= 12 else {}) for n, row in enumerate(rows)
    ]
    with_success = features_before(catalogue, traces_of(catalogue, rows))
    with_failure = features_before(catalogue, traces_of(catalogue, other))
    np.testing.assert_array_equal(with_success[:13], with_failure[:13])
    assert not np.array_equal(with_success[13:], with_failure[13:])  # the canary sings: later ones do see it
    # One takes ten minutes, and they begin one a minute: the twelfth knows of the end of the first alone.
    assert with_success[11, NAMES.index("log_runs_all")] == pytest.approx(np.log1p(1))


def test_shuffled_traces_have_the_features_of_their_times() -> None:
    catalogue = catalogue_of(TOOLS_OF)
    rows = [trace(n, "ab"[n % 2], time=NOW_S + n, outcome="success") for n in range(20)]
    order = np.random.default_rng(0).permutation(20)
    straight = features_before(catalogue, traces_of(catalogue, rows))
    shuffled = features_before(catalogue, traces_of(catalogue, [rows[n] for n in order]))
    np.testing.assert_array_equal(shuffled, straight[order])


def test_without_traces_rates_are_one_half_and_counts_nought() -> None:
    catalogue = catalogue_of(TOOLS_OF)
    made = features_of(catalogue, traces_of(catalogue, []), NOW_S)
    np.testing.assert_array_equal(made.values_CF[:, : len(PAST)], [[0, 0.5, 0, 0.5, 0, 0.5, 0.5, 0]] * 4)


def test_one_success_is_no_certainty() -> None:
    catalogue = catalogue_of(TOOLS_OF)
    made = features_of(catalogue, traces_of(catalogue, [trace(0, "a", outcome="success")]), NOW_S)
    assert made.values_CF[0, NAMES.index("success_all")] == pytest.approx(2 / 3)
    assert made.values_CF[0, NAMES.index("log_runs_7d")] == 0.0  # its time is not known


def networkx_graph(catalogue: Catalogue) -> nx.Graph:
    graph = nx.Graph()
    graph.add_nodes_from(range(len(catalogue.tools) + len(catalogue)))
    graph.add_edges_from(
        (int(m), len(catalogue.tools) + int(u)) for m, u in zip(catalogue.members, catalogue.users, strict=True)
    )
    return graph


@pytest.mark.parametrize("seed", range(3))
def test_structure_is_that_of_networkx(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tools_of = {f"c{n}": [f"t{m}" for m in rng.choice(9, int(rng.integers(1, 5)), replace=False)] for n in range(12)}
    catalogue = catalogue_of(tools_of)
    graph, first = networkx_graph(catalogue), len(catalogue.tools)
    ours, theirs = pagerank(catalogue.graph()), nx.pagerank(graph, max_iter=1000, tol=1e-12)
    np.testing.assert_allclose(ours, [theirs[n] for n in range(len(ours))], atol=1e-8)
    latapy = nx.bipartite.latapy_clustering(graph, range(first, first + 12))
    np.testing.assert_allclose(clustering(catalogue), [latapy[first + n] for n in range(12)], atol=1e-12)


def test_a_group_is_in_the_graph_with_its_parts() -> None:
    catalogue = catalogue_of({"group": [], "a": ["t1"], "b": ["t2"]}, {"a": "group", "b": "group"})
    made = features_of(catalogue, traces_of(catalogue, []), NOW_S)
    rank = made.values_CF[:, NAMES.index("pagerank")]
    assert np.isfinite(made.values_CF).all() and rank[1] == rank[2]
    assert made.values_CF[0, NAMES.index("log_tools")] == 0.0


def test_an_empty_catalogue_has_features_of_nothing() -> None:
    made = features_of(catalogue_of({}), traces_of(catalogue_of({}), []), NOW_S)
    assert made.values_CF.shape == (0, len(NAMES))
