"""When a canary is judged: often enough to be stopped in time, and not at each of its answers."""

import pytest

from serving.sight import Metrics
from serving.traffic import Canary, Guardrails, Traffic
from serving.verdicts import Verdicts
from tests.unit.serving.test_traffic import release


def verdicts_on(guardrails: Guardrails, stopped: list[str]) -> Verdicts:
    canary = Canary(release="new", share=0.5, guardrails=guardrails)
    traffic = Traffic(live="old", canary=canary, releases={id_: release(id_) for id_ in ("old", "new")})
    return Verdicts(lambda: traffic, lambda release, reason: stopped.append(reason), Metrics({}))


def test_a_canary_is_judged_ten_times_while_its_answers_change(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[int] = []

    def judge(rails: Guardrails, seen: object, live: object) -> str:
        judged.append(given)
        return ""

    monkeypatch.setattr("serving.verdicts.broken", judge)
    verdicts = verdicts_on(Guardrails(after=200), [])
    given = 0
    for given in range(1, 401):  # noqa: B007 - read where it is judged
        verdicts.answered("new", failed=False, seconds=0.01)
        verdicts.answered("old", failed=False, seconds=0.01)
    assert judged == list(range(20, 401, 20))


@pytest.mark.parametrize(("after", "at_most"), [(1, 1), (7, 7), (200, 200), (2000, 2000)])
def test_a_canary_that_only_fails_is_stopped_at_the_first_chance(after: int, at_most: int) -> None:
    stopped: list[str] = []
    verdicts = verdicts_on(Guardrails(after=after), stopped)
    answers = 0
    while not stopped:
        verdicts.answered("new", failed=True, seconds=0.01)
        answers += 1
        assert answers <= at_most
    assert answers == after and len(stopped) == 1


def test_a_canary_that_becomes_slow_is_stopped_before_a_tenth_more_of_its_answers_are() -> None:
    stopped: list[str] = []
    verdicts = verdicts_on(Guardrails(after=200, slower=2.0), stopped)
    for _ in range(450):
        verdicts.answered("old", failed=False, seconds=0.01)
        verdicts.answered("new", failed=False, seconds=0.01)
    slow = 0
    while not stopped:
        verdicts.answered("new", failed=False, seconds=0.05)
        slow += 1
        assert slow <= 10 + 20 + 1, "a twentieth of the last 200 is slow after ten answers"
    assert "95th percentile of latency was 50 ms" in stopped[0]
