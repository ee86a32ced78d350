"""What the image says of itself, read from its Dockerfile."""

import json
import re
import shlex
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
DOCKERFILE = REPOSITORY / "deploy" / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """Every instruction and its arguments, in order, continued lines joined."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines())]


def final_stage() -> dict[str, str]:
    """The instructions of the stage that becomes the image, the last of each kind."""
    every = instructions()
    begins = max(place for place, (name, _) in enumerate(every) if name == "FROM")
    return dict(every[begins:])


def environment() -> dict[str, str]:
    """Variables of the image."""
    return dict(word.split("=", 1) for word in shlex.split(final_stage()["ENV"]))


def words(instruction: str) -> list[str]:
    """The words of a CMD, an ENTRYPOINT or a HEALTHCHECK in its JSON form."""
    text = final_stage()[instruction]
    return list(json.loads(text[text.index("[") :]))
