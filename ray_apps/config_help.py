"""What each key and each section of a run file is for, as ``--help`` shows it."""

from collections.abc import Sequence

from data.errors import InputError, nearest
from ray_apps.config import RunConfig, flags_of
from ray_apps.findings import models_of


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
    parser = flags_of(RunConfig).root_parser
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
