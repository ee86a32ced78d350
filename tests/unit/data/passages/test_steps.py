"""A step of one item, of a list, async or a class: all give one result for each item, in order, and name what fails."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from data.errors import InputError
from data.passages.steps import FailedItem, Step, StepConfig, batched, code_stamp, takes_list

MODULE = """
import asyncio
from data.passages.steps import batched

running = most = built = 0

def double(item: dict) -> dict:
    return {**item, "n": 2 * item["n"]}

def double_all(items: list[dict]) -> list[dict]:
    return [double(item) for item in items]

@batched
def marked(items):
    return double_all(items)

def add(item, amount=0):
    return {**item, "n": item["n"] + amount}

async def slow(item):
    global running, most
    running += 1
    most = max(most, running)
    await asyncio.sleep(0.01 / (1 + item["n"]))  # the last ones are done first
    running -= 1
    return double(item)

async def slow_all(items: list[dict]) -> list[dict]:
    await asyncio.sleep(0.001)
    return double_all(items)

class Heavy:
    def __init__(self, amount):
        global built
        built += 1
        self.amount = amount
    def __call__(self, item):
        return {**item, "n": item["n"] + self.amount}

class HeavyAsync(Heavy):
    async def __call__(self, items: list[dict]):
        loop = asyncio.get_running_loop()
        assert loop is getattr(self, "loop", loop)
        self.loop = loop
        return [{**item, "n": item["n"] + self.amount} for item in items]

def fails(item):
    return {**item, "n": 1 / (item["n"] - 13)}

def fails_all(items: list):
    return [fails(item) for item in items]

async def fails_later(item):
    await asyncio.sleep(0)
    return fails(item)

def too_few(items: list):
    return items[1:]

def together(items: list):
    if len(items) > 1:
        raise OSError("only together")
    return items
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The user's own module, on the path."""
    (tmp_path / "own_steps.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__("own_steps")
    del sys.modules["own_steps"]


def results(name: str, items: int = 40, **options: Any) -> list[Any]:  # noqa: ANN401 - StepConfig's own fields
    step = Step(StepConfig(path=f"own_steps:{name}", batch_items=7, **options))
    return [item["n"] for item in step([{"n": n} for n in range(items)])]


@pytest.mark.parametrize("name", ["double", "double_all", "marked", "slow", "slow_all"])
@pytest.mark.usefixtures("module")
def test_every_form_gives_one_result_for_each_item_in_order(name: str) -> None:
    assert results(name) == [2 * n for n in range(40)]
    assert results(name, items=0) == []


def test_async_calls_are_bounded(module: Any) -> None:  # noqa: ANN401
    results("slow", concurrency=5)
    assert 2 <= module.most <= 5


@pytest.mark.parametrize("name", ["Heavy", "HeavyAsync"])
def test_a_class_is_constructed_once_and_not_before_it_is_needed(module: Any, name: str) -> None:  # noqa: ANN401
    step = Step(StepConfig(path=f"own_steps:{name}", arguments={"amount": 5}))
    assert module.built == 0
    assert [step([{"n": 1}]), step([{"n": 2}])] == [[{"n": 6}], [{"n": 7}]]
    assert module.built == 1


@pytest.mark.usefixtures("module")
def test_a_function_takes_its_arguments() -> None:
    assert results("add", items=3, arguments={"amount": 10}) == [10, 11, 12]


@pytest.mark.parametrize("name", ["fails", "fails_all", "fails_later"])
@pytest.mark.usefixtures("module")
def test_the_item_that_fails_is_named_with_the_line(name: str) -> None:
    with pytest.raises(FailedItem, match=r"ZeroDivisionError: .*own_steps\.py, line \d+") as failed:
        results(name)
    assert failed.value.position == 13


@pytest.mark.usefixtures("module")
def test_a_list_that_fails_as_a_whole_has_no_one_to_name() -> None:
    with pytest.raises(FailedItem, match="only together") as failed:
        results("together")
    assert failed.value.position is None
    with pytest.raises(FailedItem, match="a list of 7 and returned 6 results"):
        results("too_few")


@pytest.mark.usefixtures("module")
def test_a_class_that_cannot_be_constructed_is_told() -> None:
    with pytest.raises(InputError, match="own_steps:Heavy cannot be constructed: TypeError"):
        results("Heavy")


def test_what_says_that_a_step_takes_a_list() -> None:
    def of_list(items: list[str]) -> None: ...
    def of_sequence(items: Sequence[str]) -> None: ...
    def of_iterable(items: Iterable[str]) -> None: ...
    def of_text(items: "list[Unknown]") -> None: ...  # type: ignore[name-defined]  # noqa: F821
    def of_one(item: dict[str, list[str]]) -> None: ...
    def of_anything(item) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    assert [takes_list(step) for step in (of_list, of_sequence, of_iterable, of_text)] == [True] * 4
    assert [takes_list(step) for step in (of_one, of_anything)] == [False, False]
    assert takes_list(batched(of_anything))


def test_a_path_alone_is_enough_and_how_it_is_run_is_no_part_of_what_it_is() -> None:
    step = StepConfig.model_validate("own_steps:double")
    assert step == StepConfig(path="own_steps:double")
    assert step.identity() == StepConfig(path="own_steps:double", workers=2, concurrency=1).identity()
    with pytest.raises(ValueError, match="should match pattern"):
        StepConfig.model_validate("own_steps.double")


def test_changed_code_is_another_step(module: Any, tmp_path: Path) -> None:  # noqa: ANN401
    before = code_stamp(StepConfig(path="own_steps:double"))
    (tmp_path / "own_steps.py").write_text(MODULE + "\n# changed\n")
    assert code_stamp(StepConfig(path="own_steps:double")) != before
    with pytest.raises(InputError, match="steps: own_steps:gone: own_steps has no function or class 'gone'"):
        code_stamp(StepConfig(path="own_steps:gone"))
