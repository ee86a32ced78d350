"""Steps as a user writes them, in a module that Ray's workers can import."""

import os
from typing import Any

Document = dict[str, Any]


def shout(document: Document) -> Document:
    """The title in capitals."""
    return {**document, "title": document["title"].upper()}


class Count:
    """Counts words; writes down where it was constructed."""

    def __init__(self, folder: str) -> None:
        with open(os.path.join(folder, f"{os.getpid()}-{id(self)}"), "w"):
            self.word = "words"

    async def __call__(self, documents: list[Document]) -> list[Document]:
        """The documents with their number of words."""
        return [{**d, "metadata": {self.word: len(d["text"].split())}} for d in documents]


def no(document: Document) -> Document:
    """Fails."""
    raise ValueError("no")
