"""Parts of the benchmark of ranking that decide what its figures mean."""

import numpy as np

from benchmarks.ranking.bundled import _row
from benchmarks.ranking.speed import _off_oracle, _plain_returns
from benchmarks.ranking.turn import _run_file
from training.ranking.td import Sequences, lambda_returns


def test_the_plain_loop_of_returns_is_the_same_thing() -> None:
    rng = np.random.default_rng(0)
    sequences = Sequences(rng.random(9), np.array([0, 1, 5]), np.zeros(3))
    values = rng.random(9)
    ours = lambda_returns(values, sequences, 0.9, 0.7)
    np.testing.assert_allclose(_plain_returns(values, sequences, 0.9, 0.7), ours)


def test_walks_take_the_steps_that_p_and_q_give() -> None:
    assert _off_oracle() < 0.01


def test_a_gain_of_nothing_has_zero_in_its_interval() -> None:
    values = [np.array([0.5, 1.0, 0.25])] * 2
    row = _row(values, values, [0.4], {"two_stage": 0.5})
    assert row.value == 0 and "+0.0% to +0.0%" in row.peer and row.met


def test_the_loops_run_file_names_its_traces_by_a_pattern(tmp_path: object) -> None:
    assert "traces-*.jsonl" in _run_file(tmp_path)  # type: ignore[arg-type]
