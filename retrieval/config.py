"""How passages are indexed, and how the index is asked: the keys of section ``index``."""

import math
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from data.artifacts import StageConfig
from data.lexical import Tokenizer, known_language
from data.stop_words import stop_words

Mode = Literal["hybrid", "dense", "bm25", "late"]
ListName = Literal["dense", "bm25"]
LinkKind = Literal["known", "discovered"]
Fusing = Literal["sum", "rrf", "dbsf"]
Quantisation = Literal["none", "scalar", "turbo", "binary"]
LARGE_GRAPH = 200_000  # passages from which 128 candidates find too few of the nearest
QUANTILE = 0.99  # of the numbers that scalar codes tell apart; what is beyond takes the outermost code


def _some_count(weights: dict[ListName, float]) -> dict[ListName, float]:
    if min(weights.values(), default=0) < 0 or not 0 < sum(weights.values()) < math.inf:
        raise ValueError("weights are 0 or more, and one of them is more than 0")
    return weights


ListWeights = Annotated[dict[ListName, float], AfterValidator(_some_count)]


def _known_or_open(language: str) -> str:
    return known_language(language, also=("auto",))


class IndexConfig(StageConfig):
    """How passages are indexed and how the index is asked."""

    execution: ClassVar[frozenset[str]] = frozenset({"batch_points", "timeout_s"})

    engine: Literal["edge", "server"] = Field(
        "edge", description="'edge' is embedded, 'server' is a Qdrant server at `url`"
    )
    url: str | None = Field(None, description="of the Qdrant server; its key is read from CATENA_QDRANT_API_KEY")
    language: Annotated[str, AfterValidator(_known_or_open)] = Field(
        "auto",
        description="of the words: hebrew, a Snowball stemmer (english, german, …), or 'none' for whole words; 'auto' "
        "is what the corpus is written in",
    )
    stop_words: Literal["auto", "none"] = Field(
        "auto", description="words too common to search by: 'auto' leaves out those of the language"
    )
    particles: bool = Field(
        True, description="Hebrew: whether words lose the particles written together with them (and, the, in, to, …)"
    )
    k1: float = Field(1.2, ge=0, le=10, description="BM25: how soon more occurrences of a term stop counting")
    b: float = Field(0.75, ge=0, le=1, description="BM25: how much the score of a long passage is reduced")
    fusion: Fusing = Field(
        "sum",
        description="how the lists of hybrid search become one: 'sum' adds scores, each list's scaled to 0–1; 'rrf' "
        "adds reciprocal ranks; 'dbsf' adds scores by their distance from the list's mean in standard deviations",
    )
    weights: ListWeights | None = Field(
        None,
        description="of each list in the fusion, as {dense: 0.7, bm25: 0.3}; unset: by how well each finds "
        "passages of the corpus by a sentence of theirs",
    )
    trust_questions: int = Field(
        300, ge=0, le=10_000, description="such sentences, where `weights` is unset; 0 trusts both lists the same"
    )
    rrf_k: int = Field(60, ge=1, le=10_000, description="fusion 'rrf': a list gives 1 / (rrf_k + rank / weight)")
    prefetch: int = Field(100, ge=1, le=10_000, description="passages taken from each list before they are fused")
    rescore: int = Field(
        0,
        ge=0,
        le=1000,
        description="how many times more passages than wanted smaller vectors (section reduce) find, for the "
        "embedding's own to order; these are kept beside the index. 0 is off",
    )
    hnsw_m: int = Field(16, ge=4, le=128, description="edges per node of the HNSW graph")
    hnsw_ef_construct: int = Field(100, ge=8, le=4096, description="candidates per node while the graph is built")
    hnsw_ef: int | None = Field(
        None,
        ge=8,
        le=4096,
        description="candidates per query; more finds more and takes longer; unset: 128, above 200,000 passages 512",
    )
    exact_below_points: int = Field(20_000, ge=0, description="smaller indexes are searched exactly, without the graph")
    quantisation: Quantisation = Field(
        "none",
        description="codes of the vectors, in memory from `exact_below_points` on: scalar (8 bits a number), turbo "
        "(4) or binary (1); what they find is put in order by the vectors themselves, which stay on disk",
    )
    oversampling: float = Field(
        5.0, ge=1, le=100, description="how many times more passages than wanted the codes of `quantisation` find"
    )
    filter_keys: tuple[str, ...] | None = Field(
        None,
        description="metadata keys to filter by, nested ones as author.name; unset: all that occur, the 64 commonest",
    )
    batch_points: int = Field(512, ge=1, le=4096, description="points per upload")
    timeout_s: float = Field(60.0, gt=0, description="of one request to the server, in seconds")

    @model_validator(mode="after")
    def _server_has_url(self) -> Self:
        if (self.engine == "server") != (self.url is not None):
            raise ValueError("engine 'server' needs `url`, and engine 'edge' takes none")
        return self

    def candidates(self, points: int) -> int:
        """Candidates per query in the graph of so many passages."""
        if self.hnsw_ef is not None:
            return self.hnsw_ef
        return 512 if points > LARGE_GRAPH else 128

    @property
    def measures_trust(self) -> bool:
        """Whether the lists of hybrid search are weighed by questions made of the corpus."""
        return self.weights is None and self.trust_questions > 0

    def tokenizer(self) -> Tokenizer:
        """What makes terms of passages and questions.

        The index stage replaces ``auto`` by the language that it found; where no corpus was read, it is English.
        """
        language = "english" if self.language == "auto" else self.language
        left_out = stop_words(language) if self.stop_words == "auto" else ()
        return Tokenizer(language, left_out, self.particles)
