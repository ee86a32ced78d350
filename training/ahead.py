"""Batches made ahead by a thread while the step runs."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")

_LOOK_S = 0.1  # how soon the thread sees that nobody wants more


class Ahead(Generic[Item]):
    """The same items in the same order, some of them made before they are asked for; to be closed.

    NumPy and torch let go of the interpreter's lock in their long operations, so making a batch and a step overlap.
    The thread must not draw from torch's global random numbers, which the step uses.

    Args:
        items: made in a thread of its own, which ends when they do, or this is closed. What making one raises is raised
            where that item is asked for.
        most: items that wait at a time, beside the one being made.
        prepare: done to each item in the thread, such as its copy to a device.
    """

    def __init__(
        self, items: Iterator[Item], most: int = 2, prepare: Callable[[Item], Item] = lambda item: item
    ) -> None:
        self._items, self._prepare = items, prepare
        self._waiting: queue.Queue[Item | _End] = queue.Queue(most)
        self._unwanted = threading.Event()
        self._thread = threading.Thread(target=self._make, name="batches", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Item]:
        while not isinstance(item := self._waiting.get(), _End):
            yield item
        if item.error is not None:
            raise item.error

    def close(self) -> None:
        """Let the thread end, whatever is left to make."""
        self._unwanted.set()
        self._thread.join()

    def _make(self) -> None:
        error = None
        try:
            for item in self._items:
                if not self._put(self._prepare(item)):
                    return
        except BaseException as caught:
            error = caught
        self._put(_End(error))

    def _put(self, item: "Item | _End") -> bool:
        """Wait for room; False where nobody wants the item any more."""
        while not self._unwanted.is_set():
            try:
                self._waiting.put(item, timeout=_LOOK_S)
                return True
            except queue.Full:
                continue
        return False


class _End:
    """Stands for the end of the items, with the error that ended them."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error
