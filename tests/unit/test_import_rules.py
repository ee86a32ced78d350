"""The packages know of each other only as the architecture allows, and importing them does no heavy work."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ORDER = ("data", "retrieval", "evaluation", "training", "discovery", "serving")
MAY_IMPORT = {
    **{package: set(ORDER[:place]) for place, package in enumerate(ORDER)},
    "ray_apps": {*ORDER, "benchmarks"},
    "benchmarks": {*ORDER, "ray_apps"},
}
# Whoever fetches a command's help or checks a run file waits for none of these.
HEAVY = ("torch", "ray", "faiss", "qdrant_edge", "mlflow", "sentence_transformers", "matplotlib", "sklearn")


def imported_packages(source: str) -> Iterator[str]:
    """Top-level names of everything a module imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}: write the package's name"
            yield (node.module or "").split(".")[0]


def forbidden(package: str, source: str) -> set[str]:
    """Packages of ours that ``source``, a module of ``package``, imports and must not."""
    return (set(imported_packages(source)) & MAY_IMPORT.keys()) - MAY_IMPORT[package] - {package}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_the_architecture_allows(package: str) -> None:
    modules = sorted((REPOSITORY / package).rglob("*.py"))
    assert modules, f"{package} has no modules"
    edges = {str(m.relative_to(REPOSITORY)): forbidden(package, m.read_text(encoding="utf-8")) for m in modules}
    assert {module: found for module, found in edges.items() if found} == {}


def test_a_forbidden_import_is_found_wherever_it_stands() -> None:
    assert forbidden("data", "def f():\n    from training.links.model import x\n") == {"training"}
    assert forbidden("evaluation", "import serving.api, data.schema") == {"serving"}
    assert forbidden("serving", "from discovery import candidates") == set()


def test_no_module_stands_at_the_root() -> None:
    assert list(REPOSITORY.glob("*.py")) == []  # `import setup` and the like would shadow libraries


def test_no_package_has_an_init_under_tests() -> None:
    assert list((REPOSITORY / "tests").rglob("__init__.py")) == []


def test_reading_a_run_file_imports_no_heavy_library() -> None:
    code = f"import sys, ray_apps.cli, ray_apps.config, ray_apps.run; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert done.stdout.strip() == "[]"
