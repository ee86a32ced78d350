"""Custom steps: written for one item, run in batches.

A step is a function, or a class whose objects are called, of one item or of a list of items, and either may be async.
``Step`` calls all of them in one way: a list of items gives as many results in the same order.
``document_steps`` applies a run's steps to its documents on many workers.
"""

import asyncio
import inspect
import re
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, TypeVar

from pydantic import Field, model_validator

from data.artifacts import StageConfig
from data.errors import InputError, in_one_line
from data.imports import IMPORT_PATH, code_digest, load

KEY = "steps"
Marked = TypeVar("Marked", bound=Callable[..., Any])
# An annotation that says list, as it is printed: list[dict[str, str]], collections.abc.Sequence[Document], ...
_LIST = re.compile(r"^(typing\.|collections\.abc\.|<class ')?([Ll]ist|[Tt]uple|Sequence|Collection|Iterable)\b")


class StepConfig(StageConfig):
    """One step; in a run file its import path alone is enough."""

    execution: ClassVar[frozenset[str]] = frozenset({"batch_items", "concurrency", "workers"})

    path: str = Field(pattern=IMPORT_PATH, description="import path of a function or class, my_package.steps:clean")
    arguments: dict[str, Any] = Field({}, description="keyword arguments of the function or of the constructor")
    batch_items: int = Field(64, ge=1, description="most items that a step of a list is given at once")
    concurrency: int = Field(16, ge=1, description="most calls of an async step that one worker awaits at once")
    workers: int | None = Field(
        None, ge=1, description="most processes that hold the step; as many as there are cores where unset"
    )

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, given: object) -> object:
        return {"path": given} if isinstance(given, str) else given


def batched(step: Marked) -> Marked:
    """Mark a function or a class as a step of a list, where its annotation does not say so."""
    step.takes_list = True  # type: ignore[attr-defined]
    return step


class FailedItem(Exception):
    """A step raised an exception on an item, or returned an invalid result.

    Args:
        position: of the item in the list that the step was called with; None where no single one makes it fail.
        reason: what happened, with the line that raised.
    """

    def __init__(self, position: int | None, reason: str) -> None:
        super().__init__(reason)
        self.position = position
        self.reason = reason


class Step:
    """Calls one of the user's steps with lists of items. A class is constructed at the first call, once.

    Args:
        config: which step, and how it is called.
    """

    def __init__(self, config: StepConfig) -> None:
        self._config = config
        self._call: Callable[[Any], Any] | None = None
        self._takes_list = False
        self._loop: asyncio.Runner | None = None  # one for all calls: a client that a step opened belongs to its loop

    def __call__(self, items: Sequence[Any]) -> list[Any]:
        """One result for each item, in their order.

        Raises:
            FailedItem: if the step raises, or a step of a list does not return a list as long as the one it was given.
            InputError: if there is no such step, or its class cannot be constructed.
        """
        if self._call is None:
            self._build()
        size = self._config.batch_items if self._takes_list else 1
        batches = [(start, list(items[start : start + size])) for start in range(0, len(items), size)]
        if self._loop is None:
            results = [self._apply(start, batch) for start, batch in batches]
        else:
            results = self._loop.run(self._await_all(batches))
        return [result for part in results for result in part]

    def _build(self) -> None:
        found = load(KEY, self._config.path)
        call: Any = found
        try:
            if inspect.isclass(found):
                call = found(**self._config.arguments)
        except Exception as error:  # the user's constructor may raise anything
            raise InputError(
                f"step {self._config.path} cannot be constructed: {in_one_line(error)}",
                "Correct the class, or its arguments.",
            ) from error
        self._takes_list = takes_list(found)
        if inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(getattr(call, "__call__", None)):  # noqa: B004
            self._loop = asyncio.Runner()
            weakref.finalize(self, self._loop.close)
        self._call = call if inspect.isclass(found) else partial(call, **self._config.arguments)

    def _given(self, batch: list[Any]) -> Any:  # noqa: ANN401 - whatever the user's step takes
        return batch if self._takes_list else batch[0]

    def _apply(self, start: int, batch: list[Any]) -> list[Any]:
        assert self._call is not None
        try:
            return self._checked(self._call(self._given(batch)), batch)
        except FailedItem:
            raise
        except Exception as error:  # the user's step may raise anything
            for position, item in enumerate(batch if len(batch) > 1 else ()):
                self._apply(start + position, [item])  # raises where it is this one
            raise FailedItem(start if len(batch) == 1 else None, in_one_line(error)) from error

    async def _await_all(self, batches: list[tuple[int, list[Any]]]) -> list[list[Any]]:
        free = asyncio.Semaphore(self._config.concurrency)

        async def bounded(start: int, batch: list[Any]) -> list[Any]:
            async with free:
                return await self._await(start, batch)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(bounded(start, batch)) for start, batch in batches]
        except* FailedItem as failed:
            raise failed.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _await(self, start: int, batch: list[Any]) -> list[Any]:
        assert self._call is not None
        try:
            return self._checked(await self._call(self._given(batch)), batch)
        except FailedItem:
            raise
        except Exception as error:  # the user's step may raise anything
            for position, item in enumerate(batch if len(batch) > 1 else ()):
                await self._await(start + position, [item])
            raise FailedItem(start if len(batch) == 1 else None, in_one_line(error)) from error

    def _checked(self, result: Any, batch: list[Any]) -> list[Any]:  # noqa: ANN401 - whatever the user's step returns
        if not self._takes_list:
            return [result]
        if not isinstance(result, list | tuple) or len(result) != len(batch):
            returned = f"{len(result)} results" if isinstance(result, list | tuple) else type(result).__name__
            raise FailedItem(None, f"it was given a list of {len(batch)} and returned {returned}")
        return list(result)


def takes_list(step: Callable[..., Any]) -> bool:
    """Whether a step is one of a list: by the mark ``batched``, else by the annotation of its first parameter.

    A step without either is one of a single item.
    """
    marked: bool | None = getattr(step, "takes_list", None)
    if marked is not None:
        return marked
    call = step.__call__ if inspect.isclass(step) else step
    parameters = list(inspect.signature(call).parameters.values())[1 if inspect.isclass(step) else 0 :]
    annotation = parameters[0].annotation if parameters else ""
    return bool(_LIST.match(annotation if isinstance(annotation, str) else str(annotation)))


def code_stamp(config: StepConfig) -> str:
    """A digest of a step's code: where it changes, the step may return something else.

    Raises:
        InputError: if there is no such step.
    """
    load(KEY, config.path)
    return code_digest(KEY, config.path)
