"""Ray obeys .gitignore when it uploads a working directory: no code of ours may be ignored, every output must be."""

import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
CODE = ("data", "evaluation", "training", "discovery", "serving", "ray_apps", "benchmarks", "runs")

pytestmark = pytest.mark.skipif(not (REPOSITORY / ".git").exists(), reason="not a git checkout: nothing to ask")


def ignored(paths: list[str]) -> list[str]:
    """Those of the paths that git leaves out."""
    asked = subprocess.run(
        ["git", "check-ignore", "--no-index", *paths], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    return asked.stdout.split()


def test_no_code_of_ours_is_ignored() -> None:
    files = [
        str(path.relative_to(REPOSITORY))
        for folder in CODE
        for path in (REPOSITORY / folder).rglob("*")
        if path.suffix in (".py", ".yaml", ".md")
    ]
    assert len(files) > 20
    assert ignored(files) == []


def test_ray_leaves_no_code_of_ours_behind() -> None:
    rules = (REPOSITORY / ".rayignore").read_text().splitlines()
    left_behind = {rule.strip("/") for rule in rules if rule and not rule.startswith("#")}
    assert left_behind.isdisjoint(CODE)


def test_every_output_is_ignored() -> None:
    outputs = ["workspace/embed/x/part-00000.parquet", ".venv/bin/python", "build/lib/data/x.py", "dist/catena.whl"]
    assert ignored(outputs) == outputs
