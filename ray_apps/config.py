"""The run file: one YAML document that says what corpus, what models, and where the output goes.

Values come from, in rising priority: the defaults, the YAML file, the environment (``CATENA_EMBED__BATCH_TOKENS``) and
the command line (``--embed.batch-tokens 8192``).
"""

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
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
from data.encoders.config import API_KEY_VARIABLE, EncoderConfig, TransformerConfig
from data.errors import InputError, nearest
from data.graph.graph import GraphConfig
from data.passages.config import ChunkConfig
from data.passages.steps import StepConfig
from data.sources import SourceConfig
from data.sources.catalogue_source import CatalogueSource
from data.surrogates import valid_unicode
from discovery.bundles.config import BundlesConfig
from discovery.config import DiscoverConfig
from evaluation.config import EvaluateConfig
from ray_apps.findings import explain, models_of
from retrieval.config import IndexConfig
from retrieval.steps import Pipelines, models_in
from serving.config import ServeConfig
from training.boosted.config import BoostedConfig
from training.cross_encoder.config import RankerConfig
from training.encoders.config import FineTuneConfig, FuseConfig, MatryoshkaConfig
from training.links.config import TrainConfig
from training.ranking.config import LearnConfig
from training.tune_config import TuneConfig

PREFIX = "CATENA_"
# Variables that are no keys of a run file: where corpora are, and secrets, which are never in a file.
OTHER_VARIABLES = frozenset(
    {
        "CATENA_DATA",
        "CATENA_QDRANT_URL",
        "CATENA_QDRANT_API_KEY",
        "CATENA_REDIS_PASSWORD",
        "CATENA_KEY",
        API_KEY_VARIABLE,
    }
)


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


def load_run(path: Path, flags: Sequence[str] = ()) -> RunConfig:
    """Read a run file with the environment and the command line on top.

    Args:
        path: the YAML file.
        flags: the rest of the command line, as ``--stage.key value``.

    Raises:
        InputError: if the file is missing or not YAML, a key is unknown (the nearest is named) or a value not allowed.
    """
    _check_yaml(path)
    _check_environment(os.environ)

    class FileRun(RunConfig):  # pydantic-settings takes the name of its file from the class
        model_config = SettingsConfigDict(yaml_file=path, yaml_file_encoding="utf-8")

    command_line = _command_line(FileRun)
    _check_flags(flags, command_line)
    try:
        return FileRun(_cli_settings_source=command_line(args=list(flags)))
    except SettingsError as error:  # a value that should be JSON and is not
        raise InputError(f"{error}", 'Lists and mappings are given as JSON: \'["a", "b"]\'.') from None
    except ValidationError as error:
        raise InputError(
            explain(error, RunConfig, path, flags), "`catena config --help SECTION` lists the keys of a section."
        ) from None


def describe_flags(section: str | None = None) -> str:
    """Every key of a run file, or of one of its sections, as a flag, with its type, default and meaning.

    Raises:
        InputError: if there is no such section; the nearest is named.
    """
    if section is not None and section not in RunConfig.model_fields:
        raise InputError(
            f"a run file has no section {section!r}; {nearest(section, RunConfig.model_fields)}",
            "`catena config --help` lists them.",
        )
    parser = _command_line(RunConfig).root_parser
    formatter = parser._get_formatter()
    for group in parser._action_groups:
        actions = [
            action
            for action in group._group_actions
            for flag in action.option_strings[:1]
            if section is None or flag == f"--{section}" or flag.startswith(f"--{section}.")
        ]
        if actions:
            formatter.start_section(group.title)
            formatter.add_text(group.description)
            formatter.add_arguments(actions)
            formatter.end_section()
    text: str = formatter.format_help()
    return f"{text}\n--KEY VALUE here, or the same keys in the run file, or CATENA_SECTION__KEY in the environment\n"


def describe_sections(names: Sequence[str] | None = None) -> dict[str, str]:
    """What each section of a run file is for, by name; of all of them where None are named."""
    described = {}
    for name in names if names is not None else RunConfig.model_fields:
        field = RunConfig.model_fields[name]
        models = [model for model in models_of(field.annotation) if model.__doc__]
        first = models[0].__doc__.strip().splitlines()[0] if models and models[0].__doc__ else ""
        described[name] = (field.description or first).replace("``", "`")
    return described


def _command_line(run: type[RunConfig]) -> CliSettingsSource[Any]:
    return CliSettingsSource(run, cli_parse_args=False, cli_kebab_case=True, cli_exit_on_error=False)


def _check_yaml(path: Path) -> None:
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path("runs")
        names = [found.name for found in folder.glob("*.yaml")]
        close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.75)  # the ending alone makes up for half
        remedy = f"Did you mean {folder / close[0]}?" if close else "Check the path; run files are in runs/."
        raise InputError(f"run file not found: {path}", remedy)
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 (byte {error.start})", "Save the file as UTF-8.") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {error}", "Correct the line named above.") from None
    if not isinstance(document, dict):
        kind = "empty" if document is None else f"a {type(document).__name__}"
        raise InputError(f"{path}: a run file is a mapping of keys, this one is {kind}", "See runs/demo.yaml.")
    _check_unicode(f"{path}:", document)


def _check_unicode(place: str, value: object) -> None:
    """Refuse a text with a lone surrogate, which no artifact, request or message could hold; it names the place."""
    if isinstance(value, str) and not valid_unicode(value):
        raise InputError(f"{place} {value!a} is not valid Unicode", "Remove the lone surrogate.")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _check_unicode(place, key)
            _check_unicode(f"{place} {key}:", inner)
    elif isinstance(value, list):
        for inner in value:
            _check_unicode(place, inner)


def _check_environment(variables: Mapping[str, str]) -> None:
    """pydantic-settings ignores a variable whose first word is no key; a misspelt one must not be ignored."""
    allowed = {PREFIX + key.upper() for key in RunConfig.model_fields} | OTHER_VARIABLES
    for variable, value in variables.items():
        if variable.startswith(PREFIX):
            _check_unicode(f"environment variable {variable}:", value)
        section = variable.upper().split("__")[0]
        if section.startswith(PREFIX) and section not in allowed:
            raise InputError(
                f"environment variable {variable}: unknown; {nearest(section, allowed)}", "Rename it or unset it."
            )


def _check_flags(flags: Sequence[str], command_line: CliSettingsSource[Any]) -> None:
    known = {flag for action in command_line.root_parser._actions for flag in action.option_strings if flag[:2] == "--"}
    position = 0
    while position < len(flags):
        name, equals, _ = flags[position].partition("=")
        if name not in known:
            raise InputError(
                f"unknown flag {name}; {nearest(name, known)}",
                "`catena config --help SECTION` lists the keys of a section.",
            )
        if not equals and position + 1 == len(flags):
            raise InputError(f"flag {name} has no value", f"Write {name} VALUE.")
        position += 1 if equals else 2
