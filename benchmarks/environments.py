"""Environments for tools that need other versions than ours: made once, kept in the user's cache."""

import logging
import os
import subprocess
import venv
from collections.abc import Sequence
from pathlib import Path

logger = logging.getLogger("catena")


def environment(name: str, wanted: Sequence[str]) -> Path:
    """The interpreter of an environment with packages in it, made where it is absent or has others.

    Args:
        name: of its folder.
        wanted: requirements, as pip takes them.

    Raises:
        subprocess.CalledProcessError: if they cannot be installed.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = cache / "catena" / name
    python, done = folder / "bin" / "python", folder / "_SUCCESS"
    if not done.exists() or done.read_text() != "\n".join(wanted):
        logger.info("bench: installing %s into %s", name, folder)
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
        done.write_text("\n".join(wanted))
    return python
