"""Words of whole documents as unit vectors, so that two documents can be compared by the rare words they share."""

from collections import Counter
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from data.lexical import Tokenizer
from data.partitions import read_batches

MOST_COMMON = 0.1  # a term in more documents than this share of them says little and would cost the most


def tfidf(documents: Path, language: str) -> sp.csr_matrix:
    """TF-IDF vectors of a documents table, title and text together.

    Weights are (1 + ln tf) · (1 + ln((1 + n) / (1 + df))), scaled to unit length (Salton and Buckley, Information
    Processing & Management 24, 1988); terms in more than ``MOST_COMMON`` of the documents are left out, which keeps the
    product of a row with the whole matrix far from quadratic.

    Args:
        documents: folder of the documents table.
        language: as for ``data.lexical.Tokenizer``.

    Returns:
        float32 CSR (n, terms), rows of unit length or empty; row order is the table's.
    """
    tokenizer = Tokenizer(language)
    numbers, counts, lengths = [], [], []
    for batch in read_batches(documents, columns=["title", "text"]):
        for title, text in zip(batch["title"].to_pylist(), batch["text"].to_pylist(), strict=True):
            found = Counter(tokenizer.numbers(f"{title}\n{text}"))
            numbers.append(np.fromiter(found.keys(), np.int64, len(found)))
            counts.append(np.fromiter(found.values(), np.float32, len(found)))
            lengths.append(len(found))
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    terms, columns = np.unique(np.concatenate([np.zeros(0, np.int64), *numbers]), return_inverse=True)
    frequency = np.bincount(columns, minlength=len(terms))
    idf = 1 + np.log((1 + len(lengths)) / (1 + frequency))
    idf[frequency > max(2, MOST_COMMON * len(lengths))] = 0
    weights = (1 + np.log(np.concatenate([np.zeros(0, np.float32), *counts]))) * idf[columns]
    matrix = sp.csr_matrix((weights.astype(np.float32), columns, indptr), shape=(len(lengths), len(terms)))
    matrix.eliminate_zeros()
    norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    scale = sp.diags_array((1 / np.maximum(norms, 1e-12)).astype(np.float32))
    unit: sp.csr_matrix = sp.csr_matrix(scale @ matrix, dtype=np.float32)
    return unit
