"""The text of a passage as encoders and BM25 read it: with its title before it."""

import pyarrow as pa
import pyarrow.compute as pc


def passage_text(title: str, text: str) -> str:
    """The text that is embedded and indexed by BM25 for a passage."""
    return f"{title}\n{text}" if title and text else title or text


def passage_title(title: str, text: str, with_title: bool) -> str:
    """The title that a document's passages carry: that of a document without a text always, else where it is wanted."""
    return title if with_title or not text else ""


def passage_texts(titles: pa.ChunkedArray, texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """``passage_text`` of n passages, strings of shape (n,)."""
    both = pc.and_(pc.not_equal(titles, ""), pc.not_equal(texts, ""))
    return pc.binary_join_element_wise(titles, texts, pc.if_else(both, "\n", ""))
