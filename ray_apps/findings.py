"""What pydantic found wrong in a configuration, with the place where the user set it: line, variable or flag."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import yaml
from pydantic import BaseModel, ValidationError

from data.encoders.config import ChainConfig
from data.errors import nearest
from retrieval.steps import KINDS

Location = tuple[int | str, ...]


def explain(error: ValidationError, model: type[BaseModel], path: Path, flags: Sequence[str]) -> str:
    """Each finding on a line of its own: place, key, what is wrong with it, what is allowed.

    Args:
        error: what validation of ``model`` raised.
        model: the run's configuration, to name the keys it would have allowed.
        path: the run file, whose line is named where the value comes from there.
        flags: the flags that were set over it.
    """
    root = yaml.compose(path.read_text(encoding="utf-8"))
    lines = []
    for finding in error.errors():
        given, variant = _without_step(finding["loc"]) or _without_kinds(finding["loc"], model)
        location, message = _spelt(given, root), finding["msg"].removeprefix("Value error, ")
        key = ".".join(str(part) for part in location)
        place = _place(location, root, path, flags)
        if finding["type"] == "extra_forbidden":
            allowed = _allowed(model, location[:-1]) if variant is None else list(variant.model_fields)
            lines.append(f"{place}: {key}: unknown key; {nearest(str(location[-1]), allowed)}")
        elif finding["type"] == "missing":
            lines.append(f"{place}: {key}: missing")
        else:
            lines.append(f"{place}: {key}: {message[0].lower()}{message[1:]}, got {finding['input']!r}")
    return "\n".join(lines)


def _without_step(location: Location) -> tuple[Location, type[BaseModel]] | None:
    """The same of a key of a pipeline's step, whose kind pydantic puts in between; None for any other key."""
    if location[:1] != ("pipelines",) or len(location) < 5:
        return None
    return (*location[:3], *location[4:]), KINDS[str(location[3])]


def _without_kinds(location: Location, model: type[BaseModel]) -> tuple[Location, type[BaseModel] | None]:
    """The location as the user wrote it where it leads through encoders, whose kinds pydantic puts in between.

    Returns:
        The location, and the model whose key its last part is; None where it leads through no union of kinds.
    """
    spelt: list[int | str] = []
    inner: type[BaseModel] | None = model
    through_kinds = False
    options = [model]
    hidden = False  # what follows is the place in a tuple that no run file has
    for part in location:
        kinds = {field.default: option for option in options if (field := option.model_fields.get("kind"))}
        if part in kinds and len(options) > 1:
            through_kinds, options = True, [kinds[part]]
            inner = options[0]
            continue
        if isinstance(part, int):
            spelt += [] if hidden else [part]
            hidden = False
            continue
        inner = options[0] if len(options) == 1 else None
        field = inner.model_fields.get(part) if inner is not None else None
        hidden = part == "first" and inner is ChainConfig
        spelt += [] if hidden else [part]
        options = models_of(field.annotation) if field is not None else []
    return tuple(spelt), inner if through_kinds else None


def _spelt(location: Location, root: yaml.Node | None) -> Location:
    """The location as the user wrote it: without the name of a union's variant, which pydantic puts in between."""
    if (
        len(location) > 2
        and _child(root, location[:2]) is None
        and _child(root, (location[0], *location[2:])) is not None
    ):
        return (location[0], *location[2:])
    return location


def _place(location: Location, root: yaml.Node | None, path: Path, flags: Sequence[str]) -> str:
    """Where the value at a location was given; the last source that speaks wins, as it does in validation."""
    flag = "--" + ".".join(str(part).replace("_", "-") for part in location)
    if any(given.split("=")[0] == flag for given in flags):
        return f"command line, {flag}"
    variable = "CATENA_" + "__".join(str(part) for part in location).upper()
    for given in os.environ:
        if given.upper() == variable:
            return f"environment, {given}"
    node = _child(root, location)
    return f"{path}, line {node.start_mark.line + 1}" if node is not None else str(path)


def _child(node: yaml.Node | None, location: Location) -> yaml.Node | None:
    """The node of the YAML tree at a location, if the file has one there."""
    for part in location:
        if isinstance(node, yaml.MappingNode):
            node = next((value for key, value in node.value if key.value == str(part)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
        else:
            return None
    return node


def _allowed(model: type[BaseModel], location: Location) -> list[str]:
    """Names of the keys allowed at a place in the run file."""
    for part in location:
        field = model.model_fields.get(str(part))
        inner = models_of(field.annotation) if field is not None else []
        if len(inner) != 1:
            break
        model = inner[0]
    return list(model.model_fields)


def models_of(annotation: object) -> list[type[BaseModel]]:
    """The models in an annotation such as ``PydocsSource | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in models_of(inner)]
