"""Cursors: where the next page of an answer begins, as a text that only its own question can be continued with."""

import hashlib
import re
from dataclasses import dataclass
from typing import Self

from retrieval.config import Mode
from serving.errors import ApiError

FIRST = "*"
"""The cursor of a first page."""

_FORM = re.compile(
    r"(?P<told>(?P<offset>[0-9]{1,4})\.(?P<mode>[a-z0-9]{1,8})\.(?P<reranked>[01]))\.(?P<seal>[0-9a-f]{32})"
)


@dataclass(frozen=True)
class Cursor:
    """Where a page begins.

    Attributes:
        offset: documents of the pages before it.
        mode: how these were found; so will be the others.
        reranked: whether the ranker put them in order.
    """

    offset: int
    mode: Mode
    reranked: bool

    def sealed(self, question: str) -> str:
        """The cursor as a text.

        Args:
            question: everything that decides the answer, the version of the index among it.
        """
        told = f"{self.offset}.{self.mode}.{self.reranked:d}"
        return f"{told}.{_seal(told, question)}"

    @classmethod
    def opened(cls, text: str, question: str) -> Self:
        """The cursor of a text.

        Raises:
            ApiError: if it was made for another question, by another version of the index, or by nobody.
        """
        parts = _FORM.fullmatch(text)
        if parts is None or parts["seal"] != _seal(parts["told"], question):
            message = f"the cursor is not one of this question on this index; begin again with {FIRST!r}"
            raise ApiError("bad_request", message, "cursor", "cursor")
        mode: Mode = parts["mode"]  # type: ignore[assignment]  # nothing else was sealed
        return cls(int(parts["offset"]), mode, parts["reranked"] == "1")


def _seal(told: str, question: str) -> str:
    """What a cursor ends with: no secret, it keeps a cursor from being used for what it was not made for."""
    return hashlib.blake2b(f"{told}\0{question}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
