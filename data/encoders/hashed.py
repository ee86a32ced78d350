"""Hashed TF-IDF: unit vectors of stemmed words, without a model, the same on every machine."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from data.encoders.config import HashedConfig
from data.encoders.protocol import Encoded, Vectors
from data.errors import InputError
from data.files import whole_or_absent
from data.lexical import Tokenizer
from data.matrices import unit_rows
from data.words import VERSION

_SIGN = 1 << 31  # this bit of a term's number gives its sign, the others its dimension


@dataclass(frozen=True)
class Idf:
    """How rare terms are: ``1 + ln((1 + n) / (1 + df))``, as in ``data.graph.words``.

    Args:
        terms: int64 (T,), term numbers, ascending.
        weights: float32 (T,), theirs.
        unseen: weight of every other term.
    """

    terms: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    unseen: float

    @classmethod
    def fit(cls, texts: Iterable[str], language: str) -> Self:
        """Count in how many of the texts each term occurs.

        Raises:
            InputError: if there are no texts.
        """
        tokenizer, count, frequency = Tokenizer(language), 0, Counter[int]()
        for text in texts:
            frequency.update(set(tokenizer.numbers(text)))
            count += 1
        if not count:
            raise InputError("there are no texts to count words in", "Check that the corpus has passages.")
        terms = np.array(sorted(frequency), dtype=np.int64)
        found = np.array([frequency[int(term)] for term in terms], dtype=np.float64)
        weights = (1 + np.log((1 + count) / (1 + found))).astype(np.float32)
        return cls(terms, weights, float(1 + np.log(1 + count)))

    def save(self, path: Path, language: str) -> None:
        """Write as safetensors; the file is complete or absent."""
        from safetensors.numpy import save_file

        path.parent.mkdir(parents=True, exist_ok=True)
        unseen = np.array([self.unseen], dtype=np.float32)
        tensors = {"terms": self.terms, "weights": self.weights, "unseen": unseen}
        with whole_or_absent(path) as unfinished:
            save_file(tensors, unfinished, _counted_in(language))

    @classmethod
    def load(cls, path: Path, language: str) -> Self:
        """Read what ``save`` wrote.

        Raises:
            InputError: if it cannot be read, or its words were stemmed in another language or are of another version.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="np") as file:
                counted_in = file.metadata() or {}
                terms, weights, unseen = (file.get_tensor(name) for name in ("terms", "weights", "unseen"))
                read = cls(terms, weights, float(unseen[0]))
        except (OSError, SafetensorError, ValueError) as error:
            raise InputError(
                f"encoder.hashed.idf: {path} cannot be read: {error}", "Make it with `catena encoder idf RUN.yaml`."
            ) from None
        if counted_in != _counted_in(language):
            raise InputError(
                f"encoder.hashed.idf: {path} was fitted for language {counted_in.get('language')}, words "
                f"{counted_in.get('words', 1)}; the encoder has language {language}, words {VERSION}",
                "Make it again with `catena encoder idf RUN.yaml`.",
            )
        return read

    def by_term(self) -> Mapping[int, float]:
        """Weight of each term that was seen."""
        return dict(zip(self.terms.tolist(), self.weights.tolist(), strict=True))


def _counted_in(language: str) -> dict[str, str]:
    """Properties that decide the terms of a text, as the file records them."""
    return {"language": language, "words": str(VERSION)}


class HashedEncoder:
    """Feature hashing with signs (Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML 2009).

    A term that occurs tf times adds ``± (1 + ln tf) · idf`` to one of ``dim`` dimensions; both follow from the hash of
    the term. Signs make terms that share a dimension cancel out on average, so that inner products are unbiased. A text
    without words is a vector of zeros: it is like nothing.

    Args:
        config: dimensions and language.
        idf: weights of terms; 1 for all where None.
    """

    precision = "fp32"
    cosine_to_fp32 = 1.0

    def __init__(self, config: HashedConfig, idf: Idf | None = None) -> None:
        self.dim = config.dim
        self._tokenizer = Tokenizer(config.language)
        self._weight = {} if idf is None else idf.by_term()
        self._unseen = 1.0 if idf is None else idf.unseen
        described = hashlib.blake2b(f"hashed tf-idf {VERSION} {config.dim} {config.language}".encode(), digest_size=8)
        if idf is not None:
            described.update(idf.terms.tobytes() + idf.weights.tobytes())
        self.fingerprint = described.hexdigest()

    @classmethod
    def load(cls, config: HashedConfig) -> Self:
        """The encoder of a run, with its file of weights where it has one.

        Raises:
            InputError: if the file cannot be read.
        """
        return cls(config, None if config.idf is None else Idf.load(config.idf, config.language))

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors, float32 of shape (n, dim), unit length or zero, in the order of the texts."""
        return self.encode_counted(texts).vectors

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of questions: the same as of documents."""
        return self.encode(texts)

    def encode_queries_counted(self, texts: Sequence[str]) -> Encoded:
        """Vectors of questions with their terms: the same as of documents."""
        return self.encode_counted(texts)

    def encode_counted(self, texts: Sequence[str]) -> Encoded:
        """Vectors with the number of terms in each text."""
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        tokens = np.zeros(len(texts), dtype=np.int32)
        for row, text in enumerate(texts):
            found = Counter(self._tokenizer.numbers(text))
            if not found:
                continue
            tokens[row] = found.total()
            numbers = np.fromiter(found.keys(), np.int64, len(found))
            counts = np.fromiter(found.values(), np.float64, len(found))
            idf = np.fromiter((self._weight.get(term, self._unseen) for term in found), np.float64, len(found))
            signed = np.where(numbers & _SIGN, -1.0, 1.0) * (1 + np.log(counts)) * idf
            total = np.asarray(np.bincount((numbers & ~_SIGN) % self.dim, signed, self.dim), np.float64)
            vectors[row] = unit_rows(total[None])[0]  # zero where terms of opposite sign cancel out
        return Encoded(vectors, tokens, 0.0)
