"""How candidates are found and how many proposals are kept."""

from typing import ClassVar

from pydantic import Field

from data.artifacts import StageConfig


class DiscoverConfig(StageConfig):
    """Where missing links are looked for, and what is kept of them."""

    text_neighbours: int = Field(20, ge=0, description="nearest documents by text vector, per document; 0 turns it off")
    model_neighbours: int = Field(20, ge=0, description="nearest documents by the model's vector; 0 turns it off")
    two_hop_neighbours: int = Field(
        20,
        ge=0,
        description="neighbours of neighbours kept per document, most resources allocated first; 0 turns it off",
    )
    words_neighbours: int = Field(
        10, ge=0, description="documents with the same rare words, kept per document; 0 turns it off"
    )
    walks_neighbours: int = Field(
        10, ge=0, description="documents that walks from a document visit most, kept per document; 0 turns it off"
    )
    hub_degree: int = Field(
        1000, ge=2, description="two-hop paths through documents of more links than this are not followed"
    )
    exact_below: int = Field(
        100_000,
        ge=1,
        description="documents up to which nearest neighbours are exact; above, they are first compared in part, above "
        "500,000 found by HNSW",
    )
    keep: int = Field(10_000, ge=1, description="proposals written, best first")
    most_of_one: int = Field(25, ge=1, description="most proposals of one document among them")
    per_document: int = Field(5, ge=0, description="best proposals written for every document; 0 turns it off")
    samples: int = Field(60, ge=0, description="proposals on the page of samples to judge, from all probabilities")
    shard_documents: int = Field(16_384, ge=1, description="documents whose candidates are found and scored at once")
    batch_pairs: int = Field(65_536, ge=1, description="candidate pairs scored at once")
    seed: int = Field(0, ge=0, description="seed of the half of the candidates that calibration is measured on")

    execution: ClassVar[frozenset[str]] = frozenset({"batch_pairs", "shard_documents"})
