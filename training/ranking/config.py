"""How a ranker of capabilities learns: what is held out, what is tried, and how the network is made and trained."""

from typing import Literal

from pydantic import Field, model_validator

from data.artifacts import StageConfig
from evaluation.capability_split import CapabilitySplit
from training.config import OptimizerConfig, SpreadConfig, TrackingConfig
from training.ranking.centroid import CentroidConfig
from training.ranking.replay import ReplayConfig
from training.ranking.td import TDConfig

Messages = Literal["attention", "hypergraph_conv", "two_stage", "none"]
Feature = Literal[
    "log_runs_7d",
    "success_7d",
    "log_runs_30d",
    "success_30d",
    "log_runs_all",
    "success_all",
    "rating",
    "log_seconds",
    "log_tools",
    "pagerank",
    "clustering",
]
Structure = Literal["none", "weighted", "concatenated", "learned"]


class NetworkConfig(StageConfig):
    """The network that makes a key of each capability and a question of each intent."""

    heads: int = Field(2, ge=1, le=16, description="maps of an intent that are compared each for itself")
    scale: float = Field(20.0, gt=0, description="of scores before training; 1 leaves the cosine as it is")
    table: bool = Field(True, description="learn a vector of each tool and capability beside its text")
    own_share: float = Field(
        0.3,
        ge=0,
        le=1,
        description="of the learned vector of a capability with tools, where messages bring what was learned of those; "
        "less of it leaves more to be learned of the tools, for all that use them",
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="share of a learned vector's values that a step leaves out")
    messages: Messages = Field(
        "attention",
        description="how tools, capabilities and groups learn of each other: by attention, by PyG's HypergraphConv, by "
        "means from vertices to edges and back, or not at all",
    )
    layers: int = Field(1, ge=1, le=4, description="rounds of messages, up and down")
    attention_heads: int = Field(4, ge=1, description="of the messages; a divisor of the vectors' dimensions")
    structure: Structure = Field(
        "none",
        description="vectors of where a capability stands among tools, by node2vec: added to its text with the weights "
        "below, beside it through a map of their own that is learned, or added with weights that are learned",
    )
    text_weight: float = Field(0.3, ge=0, description="of the text, with structure: weighted")
    structure_weight: float = Field(0.7, ge=0, description="of the structure, with structure: weighted")
    structure_dim: int = Field(64, ge=2, description="dimensions of node2vec")


class LearnConfig(StageConfig):
    """One turn of learning from traces; `catena learn` does it."""

    split: CapabilitySplit = Field(CapabilitySplit(), description="which intents are held out, and for what")
    centroid: CentroidConfig = Field(CentroidConfig(), description="which moves of the centroid step are tried")
    network: NetworkConfig | None = Field(
        NetworkConfig(), description="the trained model; null leaves cosine and the centroid step to choose from"
    )
    features: tuple[Feature, ...] = Field(
        (),
        description="what the network weighs of each capability's past and place; none of it gained where measured. A "
        "champion that weighs others cannot be compared: give learn.tracking.register_as another name with them",
    )
    batch_traces: int = Field(512, ge=1, description="traces of a step on each worker; fewer where there are few")
    sampled_above: int = Field(10_000, ge=2, description="capabilities above which a step compares with some of them")
    negatives: int = Field(4_096, ge=1, description="capabilities that a step compares with then")
    largest_weight: float = Field(
        10.0, ge=1, description="of a trace: one over the probability of its choice, cut here; 1 where none was logged"
    )
    replay: ReplayConfig | None = Field(
        None, description="draw what was learned least more often; in order of a shuffle where unset"
    )
    td: TDConfig | None = Field(
        None, description="make a trace's reward of the outcomes of its steps, where it has several"
    )
    optimizer: OptimizerConfig = Field(
        OptimizerConfig(learning_rate=2e-3, epochs=30, patience=6), description="of the network's training"
    )
    spread: SpreadConfig = Field(SpreadConfig(), description="workers that train the network")
    tracking: TrackingConfig = Field(
        TrackingConfig(), description="MLflow's store, and the name in its registry; NAME-capabilities where unset"
    )
    promote: bool = Field(True, description="make the new model champion unless it loses; else it stays challenger")

    @model_validator(mode="after")
    def _one_buffer(self) -> "LearnConfig":
        if self.replay is not None and self.spread.workers > 1:
            raise ValueError("replay keeps one buffer, and spread.workers are several; train on one, or without replay")
        return self
