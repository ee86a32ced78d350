"""A release asked beside the live one: its answers are compared and never given, and nobody waits for them."""

import asyncio
import logging
from collections.abc import Callable, Sequence

import numpy as np

from serving.schemas import SearchRequest, SearchResponse
from serving.search import Searching
from serving.verdicts import Verdicts

logger = logging.getLogger("catena")

WAITING = 64  # questions that may wait for the shadow; others are dropped, and counted
DEADLINE_S = 10.0
IDLE_LOOK_S = 0.01


class Shadowing:
    """Asks a shadow, one question at a time, while nobody waits for an answer of the service.

    Args:
        verdicts: told how it did.
        busy: whether somebody waits.
        dropped: called for each question that was not asked.
    """

    def __init__(self, verdicts: Verdicts, busy: Callable[[], bool], dropped: Callable[[], None]) -> None:
        self._verdicts, self._busy, self._dropped = verdicts, busy, dropped
        self._waiting: asyncio.Queue[tuple[str, Searching, SearchRequest, list[str]]] = asyncio.Queue(WAITING)
        self._asker: asyncio.Task[None] | None = None

    def ask(self, release: str, shadow: Searching, request: SearchRequest, answer: SearchResponse) -> None:
        """Ask a shadow, by the id of its release, later what the live one has answered; returns at once."""
        if self._waiting.full():
            self._dropped()
            return
        self._waiting.put_nowait((release, shadow, request, [one.document_id for one in answer.results]))
        if self._asker is None or self._asker.done():
            self._asker = asyncio.create_task(self._work())

    async def _work(self) -> None:
        while not self._waiting.empty():
            release, shadow, request, live = self._waiting.get_nowait()
            loop = asyncio.get_running_loop()
            started = loop.time()
            try:
                async with asyncio.timeout(DEADLINE_S):
                    while self._busy():
                        await asyncio.sleep(IDLE_LOOK_S)
                    started = loop.time()
                    answer = await shadow.search(request)
            except TimeoutError:
                self._dropped()
                continue
            except Exception as error:  # of a release under test: counted, and judged by its guardrails
                logger.warning("shadow %s failed: %s", release, error)
                self._verdicts.answered(release, failed=True, seconds=loop.time() - started)
                continue
            self._verdicts.answered(release, failed=False, seconds=loop.time() - started)
            found = [one.document_id for one in answer.results]
            self._verdicts.compared(release, overlap(live, found), kendall_tau(live, found))


def overlap(live: Sequence[str], other: Sequence[str]) -> float:
    """Share of one ranking's documents that the other has too; 1 where there are none."""
    return len(set(live) & set(other)) / len(live) if live else 1.0


def kendall_tau(live: Sequence[str], other: Sequence[str]) -> float:
    """Kendall's tau (1938) of two rankings, over the documents of both; 1 where fewer than two are common."""
    place = {id_: rank for rank, id_ in enumerate(other)}
    ranks = np.array([place[id_] for id_ in live if id_ in place])
    if len(ranks) < 2:
        return 1.0
    pairs = np.triu_indices(len(ranks), 1)
    return float(np.sign(ranks[pairs[1]] - ranks[pairs[0]]).mean())
