"""A question as it is asked of an index: its text, how documents are found, and what they must be."""

from dataclasses import dataclass, field
from typing import Literal

from data.errors import InputError
from retrieval.clauses import clause
from retrieval.config import Mode
from retrieval.filters import Filter
from retrieval.index import IndexMeta
from retrieval.steps import ExpandStep, FindStep


@dataclass(frozen=True)
class SearchQuery:
    """One question to the index.

    Attributes:
        text: of it.
        mode: how documents are found.
        top_k: documents wanted.
        filter: what their metadata must be.
        find: which lists, and how they become one; those of the mode where None.
        tokens: mode late: passages that are put in order by their tokens; as deep as the lists where None.
        expand: how links of the best are followed; they are not where None.
        traced: whether hits bring the ranks and scores of their lists.
    """

    text: str
    mode: Mode = "hybrid"
    top_k: int = 10
    filter: Filter = field(default_factory=Filter)
    find: FindStep | None = None
    tokens: int | None = None
    expand: ExpandStep | None = None
    traced: bool = False

    @property
    def lists(self) -> Literal["hybrid", "dense", "bm25"]:
        """The lists that it is answered by."""
        if self.find is not None:
            return self.find.find
        return "hybrid" if self.mode == "late" else self.mode


def check_query(meta: IndexMeta, query: SearchQuery) -> None:
    """Refuse what this index cannot answer.

    Raises:
        InputError: if no results are wanted, it cannot answer the filter, or the mode is late and it holds no token
            vectors.
    """
    if query.top_k < 1:
        raise InputError(f"top_k {query.top_k}: at least 1 result must be wanted", "Give a top_k of 1 or more.")
    clause(query.filter, meta.filter_keys)
    if query.mode == "late" and meta.late_dim is None:
        raise InputError(
            "mode late: the index holds no token vectors", "Add `late: {}` to the run file and index again."
        )
