"""Names of documents for people: title, id, or both."""

from collections import Counter
from collections.abc import Sequence


def label(id_: str, title: str, alike: bool = False) -> str:
    """The name of a document.

    Args:
        id_: its id.
        title: its title, which may be empty.
        alike: whether another document has this title.

    Returns:
        The title; the id where there is no title; both where the title alone names several documents.
    """
    if not title.strip():
        return id_
    return f"{title} [{id_}]" if alike else title


class Labels:
    """The names of many documents; titles that differ only in case and spaces are alike.

    Args:
        ids: of the documents.
        titles: of the same documents.
    """

    def __init__(self, ids: Sequence[str], titles: Sequence[str]) -> None:
        self._ids, self._titles = ids, titles
        counts = Counter(_key(label(id_, title)) for id_, title in zip(ids, titles, strict=True))
        self._alike = {key for key, count in counts.items() if count > 1}

    def of(self, number: int) -> str:
        """The name of the document at a position."""
        title = self._titles[number]
        return label(self._ids[number], title, _key(title) in self._alike)


def _key(title: str) -> str:
    return " ".join(title.casefold().split())
