"""The live documents of a run in a process: one file and one order of writes, however many releases have them open.

Writes that arrive together are one transaction on disk (group commit; Gray and Reuter, "Transaction Processing", 1993),
applied to the live part of every release that is open here before they are acknowledged. A process that does not own
the file follows it.
"""

import logging
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

from data.errors import InputError
from serving.batcher import Batcher
from serving.live_rows import Change, PreparedDocument, PutDocument, Stored
from serving.live_store import LiveStore
from serving.schemas.documents import Written

logger = logging.getLogger("catena")


class TooMany(InputError):
    """There are as many live documents as a service takes."""


class Changed(NamedTuple):
    """What became of a write.

    Attributes:
        written: for whoever asked.
        lacking: forms of releases that are open here, in which its documents were not prepared.
    """

    written: Written
    lacking: frozenset[str]


class Part(Protocol):
    """What a release has of the live documents; its owner says when to change it."""

    form: str

    def outcome(self, changes: Sequence[Change], before: dict[str, bool]) -> Written | TooMany:
        """What changes count as, after others that are not applied yet; these are added to ``before``."""

    def apply(self, changes: Sequence[Stored]) -> None:
        """Make changes true of the index."""

    def lacks(self, id_: str, number: int) -> bool:
        """Whether a document was put by this write, and is not prepared in the part's form."""


Asked = tuple[Part, Sequence[Change]]


class LiveFolder:
    """The live documents of a folder. ``opened`` gives the one that this process has.

    Args:
        folder: of the file.

    Attributes:
        found: number of the last write that every part has.
        leads: whether this process owns the file, and has read what others had written before.
    """

    _here: ClassVar[dict[Path, "LiveFolder"]] = {}
    _opening = threading.Lock()

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, LiveStore(folder)
        self._parts: list[Part] = []
        self._turn = threading.RLock()  # of whoever changes store and parts
        self.found = self.store.look()
        self.leads = self.store.owned
        self._users = 0
        self._write = Batcher[Asked, Changed | TooMany](self._write_all, max_items=64, phases=False)

    @classmethod
    def opened(cls, folder: Path) -> "LiveFolder":
        """The live documents of a folder, which stay open until everybody who asked for them has closed them.

        Raises:
            OSError: if the folder cannot be written.
        """
        with cls._opening:
            there = cls._here.get(folder.resolve()) or cls(folder)
            cls._here[folder.resolve()] = there
            there._users += 1
        return there

    def close(self) -> None:
        """Close them, where nobody else in this process has them open."""
        with self._opening:
            self._users -= 1
            if self._users == 0:
                del self._here[self.folder.resolve()]
                self.store.close()

    def join(self, part: Part, number: int) -> None:
        """Bring a part to where the others are, and keep it there.

        Args:
            part: of a release.
            number: of the last write that its index has.
        """
        number = self._read(part, number)  # others write meanwhile
        with self._turn:
            self.follow()
            self._read(part, number)
            self._parts.append(part)

    def leave(self, part: Part) -> None:
        """Change a part no longer."""
        with self._turn:
            self._parts = [one for one in self._parts if one is not part]

    def follow(self) -> int:
        """Apply what another process wrote, and become the owner where there is none; the number of the last write."""
        if self.leads:
            return self.found
        with self._turn:
            try:
                leads, last = self.store.own(), self.store.look()
                if last > self.found:
                    for part in self._parts:
                        self._read(part, self.found)
                self.found, self.leads = last, leads
            except sqlite3.OperationalError as error:  # its owner has just ended; the next look finds all
                logger.warning("documents: %s cannot be read now: %s", self.folder, error)
            return self.found

    async def change(self, part: Part, changes: Sequence[Change]) -> Changed:
        """Put and delete documents: all of these, or none. They are on disk and found when this returns.

        Args:
            part: of the release that is asked, by which they are counted.
            changes: in their order.

        Raises:
            TooMany: if there is no room for them.
            NotWritten: if the disk refuses, or another process takes the documents of the run.
        """
        done = await self._write((part, changes))
        if isinstance(done, TooMany):
            raise done
        return done

    def supply(self, part: Part, prepared: Sequence[tuple[int, PreparedDocument]]) -> None:
        """Give a part what it lacks: documents in its form, each with the number of its write.

        Raises:
            NotWritten: if the disk refuses.
        """
        with self._turn:
            self.follow()
            wanted = [(number, one) for number, one in prepared if part.lacks(one.id, number)]
            if self.store.owned:
                self.store.keep(part.form, wanted)
            part.apply([Stored(number, one.id, one.source, one) for number, one in wanted])

    def _read(self, part: Part, number: int) -> int:
        for page in self.store.since(number, part.form):
            part.apply(page)
            number = page[-1].number
        return number

    def _write_all(self, asked: list[Asked]) -> list[Changed | TooMany]:
        """Each request's outcome; those that are taken are one transaction."""
        with self._turn:
            self.follow()
            if not self.leads:
                raise self.store.not_owner()
            answers: list[Changed | TooMany] = []
            taken: list[Change] = []
            before: dict[str, bool] = {}
            for part, changes in asked:
                outcome = part.outcome(changes, before)
                if isinstance(outcome, TooMany):
                    answers.append(outcome)
                    continue
                taken += changes
                version = self.store.last + len(taken)
                answers.append(Changed(outcome.model_copy(update={"version": version}), self._lacking(changes)))
            if taken:
                numbered = list(enumerate(taken, self.store.last + 1))
                written = self.store.write(taken)
                for part in self._parts:
                    part.apply([_stored(number, change, part.form) for number, change in numbered])
                self.found = written  # not before: what is answered until now is not the answer of this version
            return answers

    def _lacking(self, changes: Sequence[Change]) -> frozenset[str]:
        forms = {part.form for part in self._parts}
        puts = [change for change in changes if isinstance(change, PutDocument)]
        return frozenset(form for form in forms for put in puts if form not in put.made)


def _stored(number: int, change: Change, form: str) -> Stored:
    if isinstance(change, str):
        return Stored(number, change, None, None)
    return Stored(number, change.id, change.source, change.made.get(form))
