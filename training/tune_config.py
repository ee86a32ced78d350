"""Which keys of a training are searched, between which values, and with how many trials."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator

from data.artifacts import StageConfig
from data.errors import InputError, nearest

Config = TypeVar("Config", bound=StageConfig)


class Range(StageConfig):
    """Numbers from ``low`` to ``high``, both included; whole ones where both are written as whole numbers."""

    low: int | float = Field(description="smallest value")
    high: int | float = Field(description="largest value")
    log: bool = Field(False, description="draw evenly on a logarithmic scale")

    @model_validator(mode="after")
    def _rises(self) -> "Range":
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"with log, low must be above 0, got {self.low}")
        return self

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are drawn."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def examples(self) -> list[Any]:
        """Values that must all be allowed."""
        return [self.low, self.high]


class Choice(StageConfig):
    """One of several values, which have no order."""

    choice: tuple[bool | int | float | str, ...] = Field(min_length=2, description="the values")

    def examples(self) -> list[Any]:
        """Values that must all be allowed."""
        return list(self.choice)


class TuneConfig(StageConfig):
    """A search for better values of the section ``train``, by ``catena tune``."""

    execution: ClassVar[frozenset[str]] = frozenset({"concurrent"})

    space: dict[str, Range | Choice] = Field(
        default_factory=dict,
        description="keys of the section train, inner ones as optimizer.learning_rate, each with what it may be: "
        "{low, high, log} or {choice: [...]}",
    )
    trials: int = Field(20, ge=2, description="trainings to try, the run file's own values first")
    concurrent: int | None = Field(None, ge=1, description="trials at a time; as many as there are cores where unset")
    scheduler: Literal["asha", "hyperband", "none"] = Field(
        "asha",
        description="which trials are stopped early: those behind at the first epochs (asha), some of them later "
        "(hyperband), or none",
    )
    metric: str = Field("score", description="figure of an epoch that is to be high")
    seed: int = Field(0, ge=0, description="of the sampler")


def inner_values(config: StageConfig) -> dict[str, Any]:
    """The keys that decide what comes out of a config, inner ones with a dot, and their values."""
    values: dict[str, Any] = {}
    for name in type(config).model_fields.keys() - config.execution:
        value = getattr(config, name)
        if isinstance(value, StageConfig):
            values |= {f"{name}.{key}": inner for key, inner in inner_values(value).items()}
        else:
            values[name] = value
    return values


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """The config with other values for some keys, checked like one that was read from a file."""
    given = config.model_dump(mode="json")
    for key, value in values.items():
        place = given
        *outer, last = key.split(".")
        for name in outer:
            place = place[name]
        place[last] = value
    return type(config).model_validate(given)


def check_space(config: StageConfig, tune: TuneConfig) -> None:
    """Refuse a space with a key that is none of the training, or a value that it does not allow.

    Raises:
        InputError: naming the key, the value and what is allowed.
    """
    if not tune.space:
        raise InputError("tune.space: empty, so there is nothing to search", f"Name keys of train: {_listed(config)}.")
    known = inner_values(config)
    for key, allowed in tune.space.items():
        if key not in known:
            raise InputError(
                f"tune.space: {key}: the section train has no such key; {nearest(key, known)}",
                "`catena config --help train` lists its keys; inner ones are written with a dot.",
            )
        for value in allowed.examples():
            try:
                with_values(config, {key: value})
            except ValidationError as error:
                told = error.errors()[0]["msg"].removeprefix("Value error, ")
                raise InputError(
                    f"tune.space: {key}: {value!r} is not allowed: {told}", "Leave it out of the space."
                ) from None


def _listed(config: StageConfig) -> str:
    return ", ".join(sorted(inner_values(config)))
