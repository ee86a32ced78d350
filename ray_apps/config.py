"""The run file: one YAML document that says what corpus, what models, and where the output goes.

Values come from, in rising priority: the defaults, the YAML file, the environment (``CATENA_EMBED__BATCH_TOKENS``) and
the command line (``--embed.batch-tokens 8192``).
"""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from data.artifacts import StageConfig
from data.chunking import ChunkConfig
from data.embed import EmbedConfig
from data.encoders import EncoderConfig
from data.errors import InputError, nearest
from data.graph import GraphConfig
from data.index import IndexConfig
from data.sources import SourceConfig
from discovery.config import DiscoverConfig
from evaluation.config import EvaluateConfig
from serving.config import ServeConfig
from training.config import TrainConfig


class RayConfig(StageConfig):
    """Which Ray cluster a run uses."""

    address: str = Field("local", description="'local' starts one on this machine, 'auto' or host:port joins one")
    num_cpus: int | None = Field(None, ge=1, description="cores of a local cluster; all of them where unset")
    object_store_mb: int = Field(512, ge=80, description="shared memory of a local cluster, in MiB")


class RunConfig(BaseSettings):
    """One run, from source to service."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="CATENA_", env_nested_delimiter="__", cli_kebab_case=True
    )

    name: str = Field(description="name of the run, shown in tables and tracked in MLflow")
    workspace: Path = Field(Path("workspace"), description="folder that holds every artifact")
    ray: RayConfig = RayConfig()
    source: SourceConfig
    chunk: ChunkConfig = ChunkConfig()
    encoder: EncoderConfig = EncoderConfig()
    embed: EmbedConfig = EmbedConfig()
    index: IndexConfig = IndexConfig()
    graph: GraphConfig = GraphConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    discover: DiscoverConfig = DiscoverConfig()
    serve: ServeConfig = ServeConfig()

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
        flags: what stands on the command line after it, as ``--stage.key value``.

    Raises:
        InputError: if the file is missing or not YAML, a key is unknown (the nearest is named) or a value not allowed.
    """
    _check_yaml(path)

    class FileRun(RunConfig):
        """The run of this one file; pydantic-settings takes the file's name from the class."""

        model_config = SettingsConfigDict(yaml_file=path, cli_prog_name=f"catena COMMAND {path}")

    source = CliSettingsSource[Any](FileRun, cli_parse_args=list(flags), cli_kebab_case=True, cli_exit_on_error=False)
    try:
        return FileRun(_cli_settings_source=source)  # type: ignore[call-arg]
    except ValidationError as error:
        raise InputError(_explain(error, path), "Run `catena config --help` to see every key.") from None


def _check_yaml(path: Path) -> None:
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path("runs")
        close = difflib.get_close_matches(path.name, [p.name for p in folder.glob("*.yaml")], n=1)
        raise InputError(f"run file not found: {path}", f"Did you mean {folder / close[0]}?" if close else "Check the path.")
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 (byte {error.start})", "Save the file as UTF-8.") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {error}", "Mend the line named above.") from None
    if not isinstance(document, dict):
        raise InputError(f"{path}: a run file is a mapping of keys, this is {type(document).__name__}", "See runs/demo.yaml.")


def _explain(error: ValidationError, path: Path) -> str:
    """Each finding on a line: key, value, what is allowed."""
    lines = [f"{path}: {error.error_count()} problem(s) in the configuration"]
    for finding in error.errors():
        key = ".".join(str(part) for part in finding["loc"])
        if finding["type"] == "extra_forbidden":
            allowed = _fields_at(finding["loc"][:-1])
            lines.append(f"  {key}: unknown key; {nearest(str(finding['loc'][-1]), allowed)}")
        elif finding["type"] == "missing":
            lines.append(f"  {key}: missing")
        else:
            lines.append(f"  {key}: {finding['msg']}, got {finding['input']!r}")
    return "\n".join(lines)


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    """Names of the keys allowed at a place in the run file."""
    model: type[BaseModel] = RunConfig
    for part in location:
        field = model.model_fields.get(str(part))
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return list(model.model_fields)  # inside a union: pydantic put the variant's tag in the location
        model = field.annotation
    return list(model.model_fields)
