"""How the link model is built and trained: documents' states, negatives, the scorer of pairs."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from data.artifacts import StageConfig
from training.config import OptimizerConfig, SpreadConfig, TrackingConfig
from training.typed.config import TypedConfig


class NodesConfig(StageConfig):
    """What the state of a document is made of."""

    encoder: Literal["linear", "gatv2", "sage", "rgcn", "none"] = Field(
        "linear", description="how states pass along links: linear steps, a PyG convolution, or not at all"
    )
    width: int = Field(256, ge=8, description="floats of a state")
    steps: int = Field(2, ge=1, le=6, description="links that a state passes along")
    text: bool = Field(True, description="the documents' vectors are an input")
    words: int = Field(256, ge=0, description="dimensions of the documents' words (LSA) as an input; 0 leaves them out")
    node2vec: int = Field(
        0, ge=0, description="dimensions of vectors from walks over the training links as an input; 0 leaves them out"
    )
    word_table: bool | None = Field(
        None, description="a learned vector for each word is an input; unset: where there are 5 links for each word"
    )
    table: bool | None = Field(
        None, description="a learned vector for each document is an input; unset: where documents bring nothing else"
    )
    table_decay: float = Field(1.0, ge=0, description="weight decay of the learned vectors")
    drop_rows: float = Field(
        0.0, ge=0, lt=1, description="share of documents' vectors dropped whole, so that texts learn to stand in"
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout of the inputs")
    heads: int = Field(4, ge=1, description="attention heads of gatv2")
    temperature: float = Field(20.0, gt=0, description="first factor of the cosines; it is learned")

    @model_validator(mode="after")
    def _fits_together(self) -> "NodesConfig":
        if self.encoder == "gatv2" and self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        if not (self.text or self.words or self.node2vec) and self.word_table is False and self.table is False:
            raise ValueError("a document's state needs an input: text, words, node2vec, word_table or table")
        return self


class NegativesConfig(StageConfig):
    """What a link is compared with in training. Known training links are never negatives, whatever the kind."""

    loss: Literal["contrastive", "bce", "bpr"] = Field(
        "contrastive", description="softmax over the negatives, cross entropy of each, or each pair's order"
    )
    kind: Literal["in_batch", "uniform", "degree", "relation"] = Field(
        "in_batch",
        description="targets of the batch (with logQ correction), or documents drawn alike, by degree, or among the "
        "targets of the batch's relations",
    )
    drawn: int = Field(4096, ge=1, description="documents drawn for a batch, where the kind is not in_batch")
    hard: int = Field(0, ge=0, description="near misses of the model so far, mined for each batch beside the others")
    mine_every: int = Field(2, ge=1, description="epochs after which near misses are mined anew")


class SamplingConfig(StageConfig):
    """Graphs that do not fit: states of a batch from a sample of what is around it."""

    from_links: int = Field(
        10_000_000, ge=0, description="training links from which on batches are sampled; below, states pass along all"
    )
    neighbours: tuple[Annotated[int, Field(ge=-1)], ...] = Field(
        (25, 10),
        min_length=1,
        description="neighbours drawn of each document, a number a step; the last counts for further steps; -1: all",
    )

    @model_validator(mode="after")
    def _draws_something(self) -> "SamplingConfig":
        if 0 in self.neighbours:
            raise ValueError(
                "0 neighbours pass nothing on: give 1 or more, or -1 for all; without links: encoder: none"
            )
        return self


class ScorerConfig(StageConfig):
    """The scorer of pairs, fitted on links that the states have not seen."""

    units: int = Field(16, ge=0, description="units of each hidden layer; 0 makes it linear")
    members: int = Field(4, ge=1, description="networks whose scores are averaged")
    links: int = Field(
        2000,
        ge=50,
        description="held-out links wanted; where validation has fewer, parts of the training links are held out too",
    )
    folds: int = Field(
        10, ge=0, description="most parts of the training links that are held out in turn; 0: validation links alone"
    )
    shortlist: int = Field(100, ge=1, description="documents that each way of looking puts on a source's shortlist")
    random: int = Field(200, ge=0, description="random documents in each list that the scorer is fitted on")
    epochs: int = Field(16, ge=1, description="passes over the lists")
    learning_rate: float = Field(1e-2, gt=0, description="peak learning rate")
    weight_decay: float = Field(1e-2, ge=0, description="decoupled weight decay")


class TrainConfig(StageConfig):
    """Link model, negatives, scorer, optimiser, and how many workers share the work."""

    task: Literal["links", "typed"] = Field(
        "links", description="links: which documents belong together; typed: triples of a knowledge graph"
    )
    model: NodesConfig = Field(NodesConfig(), description="what the state of a document is made of")
    negatives: NegativesConfig = Field(NegativesConfig(), description="what a link is compared with")
    sampling: SamplingConfig = Field(SamplingConfig(), description="how graphs are trained on that do not fit")
    scorer: ScorerConfig = Field(ScorerConfig(), description="the scorer of pairs")
    typed: TypedConfig = Field(TypedConfig(), description="the model of typed links, of task: typed")
    optimizer: OptimizerConfig = Field(OptimizerConfig(), description="how the model is trained")
    spread: SpreadConfig = Field(SpreadConfig(), description="over how many workers the training is spread")
    tracking: TrackingConfig = Field(TrackingConfig(), description="where MLflow keeps the training")
    batch_links: int = Field(
        4096, ge=2, description="links in a worker's batch; all batches of a step hold at most a quarter of all links"
    )
    valid_links: int = Field(500, ge=1, description="validation links ranked after each epoch, both ways")
    ablation: bool = Field(
        False, description="the table also shows the model without the documents' states, to show what they add"
    )
