"""Progress: counted where the work is, shown where somebody looks, and never the end of the work."""

import pytest

from data.progress import Lines, State, duration, progress, shown_by, tracked


class Recorder:
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.shown: list[State] = []
        self.closed: list[str] = []

    def show(self, state: State) -> None:
        self.shown.append(state)

    def close(self, state: State) -> None:
        self.closed.append(state.what)


@pytest.mark.parametrize(
    ("seconds", "said"), [(45, "45 s"), (600, "10 min"), (12_000, "3 h 20 min"), (89.9, "90 s"), (91, "2 min")]
)
def test_duration(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_what_is_done_is_shown_and_closed_even_where_the_work_fails() -> None:
    display = Recorder()
    with shown_by(display), pytest.raises(ZeroDivisionError), progress("index", 10, "passages", 4) as counted:
        counted.advance(3, rate=2.0, note="fast")
        raise ZeroDivisionError
    assert [state.done for state in display.shown] == [4, 7] and display.closed == ["index"]
    assert display.shown[-1] == State("index", 7, 10, "passages", 2.0, "fast") and display.shown[-1].left == "2 s left"


def test_the_rate_is_this_runs_own_where_none_is_given() -> None:
    display = Recorder()
    with shown_by(display):
        assert list(tracked(range(3), "ingest", 3, "tasks")) == [0, 1, 2]
    assert all(state.rate > 0 for state in display.shown[1:]) and display.shown[0].rate == 0


def test_a_display_that_fails_does_not_end_the_work(caplog: pytest.LogCaptureFixture) -> None:
    class Gone(Recorder):
        def show(self, state: State) -> None:
            raise OSError("terminal is gone")

    with shown_by(Gone()):
        assert list(tracked("ab", "embed", 2, "passages")) == ["a", "b"]
    assert caplog.text.count("terminal is gone") == 1


def test_slow_work_is_said_by_the_time_a_unit_takes() -> None:
    assert State("train", 2, 8, "epochs", 0.03, "").speed == "33 s each"
    assert State("embed", 2, 8, "passages", 1234.5, "").speed == "1,234 passages/s"
    assert State("embed", 0, 8, "passages", 0.0, "").speed == ""


def test_without_a_terminal_a_line_comes_every_few_seconds(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "catena"):
        with shown_by(Lines(every_s=0.0)), progress("embed", 2000, "passages") as counted:
            counted.advance(1000, rate=10.0, note="500 tokens/s")
        with shown_by(Lines(every_s=60.0)):
            list(tracked("ab", "index", 2, "passages"))
    assert caplog.messages[-1] == "embed: 1,000 of 2,000 passages, 10 passages/s, 500 tokens/s, 2 min left"
    assert not any(line.startswith("index") for line in caplog.messages)
