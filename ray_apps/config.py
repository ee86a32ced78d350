"""The run file: one YAML document that says what corpus, what models, and where the output goes.

Values come from, in rising priority: the defaults, the YAML file, the environment (``CATENA_EMBED__BATCH_TOKENS``) and
the command line (``--embed.batch-tokens 8192``).
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    YamlConfigSettingsSource,
)

from data.artifacts import StageConfig
from data.baskets.config import BasketsConfig
from data.cache import CacheConfig
from data.embedding.config import EmbedConfig, LateConfig, ReduceConfig
from data.encoders.config import EncoderConfig, TransformerConfig
from data.errors import InputError
from data.graph.graph import GraphConfig
from data.passages.config import ChunkConfig
from data.passages.steps import StepConfig
from data.sources import SourceConfig
from data.sources.catalogue_source import CatalogueSource
from discovery.bundles.config import BundlesConfig
from discovery.config import DiscoverConfig
from evaluation.config import EvaluateConfig
from ray_apps.config_checks import PREFIX, check_environment, check_flags, check_yaml
from ray_apps.findings import explain
from retrieval.config import IndexConfig
from retrieval.steps import Pipelines, models_in
from serving.config import ServeConfig
from training.boosted.config import BoostedConfig
from training.cross_encoder.config import RankerConfig
from training.encoders.config import FineTuneConfig, FuseConfig, MatryoshkaConfig
from training.links.config import TrainConfig
from training.ranking.config import LearnConfig
from training.tune_config import TuneConfig


class RayConfig(StageConfig):
    """Which Ray cluster a run uses."""

    address: str = Field("local", description="'local' starts one on this machine, 'auto' or host:port joins one")
    num_cpus: int | None = Field(None, ge=1, description="cores of a local cluster; all of them where unset")
    object_store_mb: int = Field(512, ge=80, description="shared memory of a local cluster, in MiB")


class RunConfig(BaseSettings):
    """One run, from source to service."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=PREFIX, env_nested_delimiter="__", cli_kebab_case=True
    )

    name: str = Field(description="name of the run, shown in tables and tracked in MLflow")
    workspace: Path = Field(Path("workspace"), description="folder that holds every artifact")
    ray: RayConfig = RayConfig()
    source: SourceConfig
    catalogue: CatalogueSource | None = Field(
        None, description="tools, capabilities and traces, to rank by feedback; nothing is ranked where unset"
    )
    baskets: BasketsConfig | None = Field(
        None, description="order lines and products, to propose bundles of; none are proposed where unset"
    )
    bundles: BundlesConfig = BundlesConfig()
    steps: tuple[StepConfig, ...] = Field(
        (), description="functions and classes of your own, my_package.steps:clean, that change documents, in order"
    )
    chunk: ChunkConfig = ChunkConfig()
    encoder: EncoderConfig = Field(
        TransformerConfig(), description="which encoder turns text into vectors; its keys decide its kind"
    )
    embed: EmbedConfig = EmbedConfig()
    cache: CacheConfig = CacheConfig()
    reduce: ReduceConfig = ReduceConfig()
    late: LateConfig | None = Field(None, description="token vectors for mode late; none are made where unset")
    index: IndexConfig = IndexConfig()
    graph: GraphConfig = GraphConfig()
    train: TrainConfig = TrainConfig()
    tune: TuneConfig = TuneConfig()
    fuse: FuseConfig = FuseConfig()
    finetune: FineTuneConfig = FineTuneConfig()
    matryoshka: MatryoshkaConfig | None = Field(
        None, description="fine-tuning of the encoder by `catena encoder matryoshka`"
    )
    ranker: RankerConfig = RankerConfig()
    boosted: BoostedConfig = BoostedConfig()
    learn: LearnConfig = LearnConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    discover: DiscoverConfig = DiscoverConfig()
    serve: ServeConfig = Field(ServeConfig(), validate_default=True)
    pipelines: Pipelines = Field(
        default_factory=dict,
        description="ways to search by name, each a list of steps, such as {best: [{find: hybrid, depth: 100}, "
        "{rank: cross-encoder, depth: 30}]}; `default` is what users get who name none",
    )

    @field_validator("serve")
    @classmethod
    def _serves_what_is_judged(cls, serve: ServeConfig, read: ValidationInfo) -> ServeConfig:
        if serve.rank.store == "redis" and "cache" in read.data and read.data["cache"].redis == "none":
            raise ValueError(
                "rank.store: redis needs a server, and cache.redis is none; name it there, or set it to embedded"
            )
        model = read.data["ranker"].model if "ranker" in read.data else None
        return serve if serve.ranker or model is None else serve.model_copy(update={"ranker": model})

    @field_validator("pipelines")
    @classmethod
    def _have_a_ranker(cls, pipelines: Pipelines, read: ValidationInfo) -> Pipelines:
        if not {"ranker", "serve"} <= set(read.data):
            return pipelines  # one of them is refused for itself
        judged, served = read.data["ranker"].model, read.data["serve"].ranker
        for name, steps in pipelines.items():
            if "cross-encoder" not in models_in({name: steps}):
                continue
            if served is None:
                raise ValueError(
                    f"{name} ranks by a cross-encoder, and the run names none; set ranker.model: trained, or a folder"
                )
            if judged not in (None, served):
                raise ValueError(
                    f"{name} ranks by a cross-encoder, and would be judged by ranker.model {judged!r} and served by "
                    f"serve.ranker {served!r}; name one"
                )
        return pipelines

    @property
    def cross_encoder(self) -> str | None:
        """The cross-encoder of searches: a folder, a name, ``trained`` for the run's own, or None."""
        return self.ranker.model or self.serve.ranker

    @field_validator("index")
    @classmethod
    def _smaller_vectors_to_rescore(cls, index: IndexConfig, read: ValidationInfo) -> IndexConfig:
        if index.rescore and "reduce" in read.data and not read.data["reduce"].active:
            raise ValueError(
                f"rescore {index.rescore} puts in order what smaller vectors find, and this run makes none; "
                "set reduce.storage or reduce.method, or rescore: 0"
            )
        return index

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment above file; ``load_run`` puts the command line above both."""
        return (init_settings, env_settings, YamlConfigSettingsSource(settings_cls))


def load_run(path: Path, flags: Sequence[str] = (), strict: bool = False) -> RunConfig:
    """Read a run file with the environment and the command line on top.

    Args:
        path: the YAML file.
        flags: the rest of the command line, as ``--stage.key value``.
        strict: set the key ``strict`` of every section that has one and is given: source, catalogue, baskets.

    Raises:
        InputError: if the file is missing or not YAML, a key is unknown (the nearest is named) or a value not allowed.
    """
    check_yaml(path)
    check_environment(os.environ, RunConfig.model_fields)

    class FileRun(RunConfig):  # pydantic-settings takes the name of its file from the class
        model_config = SettingsConfigDict(yaml_file=path, yaml_file_encoding="utf-8")

    command_line = flags_of(FileRun)
    check_flags(flags, command_line)
    try:
        run = FileRun(_cli_settings_source=command_line(args=list(flags)))
    except SettingsError as error:  # a value that should be JSON and is not
        raise InputError(f"{error}", 'Lists and mappings are given as JSON: \'["a", "b"]\'.') from None
    except ValidationError as error:
        raise InputError(
            explain(error, RunConfig, path, flags), "`catena config --help SECTION` lists the keys of a section."
        ) from None
    return run.model_copy(update=_strict(run)) if strict else run


def _strict(run: RunConfig) -> dict[str, StageConfig]:
    """The sections that read rows, each with ``strict`` set."""
    given = {"source": run.source, "catalogue": run.catalogue, "baskets": run.baskets}
    return {name: of.model_copy(update={"strict": True}) for name, of in given.items() if of is not None}


def flags_of(run: type[RunConfig]) -> CliSettingsSource[Any]:
    """Every key of a run as a flag of the command line."""
    return CliSettingsSource(run, cli_parse_args=False, cli_kebab_case=True, cli_exit_on_error=False)
