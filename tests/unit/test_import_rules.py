"""The packages know of each other only as the architecture allows, and importing them does no heavy work."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ORDER = ("data", "retrieval", "evaluation", "training", "discovery", "serving")
MAY_IMPORT = {
    **{package: set(ORDER[:place]) for place, package in enumerate(ORDER)},
    "ray_apps": {*ORDER, "benchmarks"},
    "benchmarks": {*ORDER, "ray_apps"},
}
# Help and the check of a run file import none of these.
HEAVY = ("torch", "ray", "faiss", "qdrant_edge", "mlflow", "sentence_transformers", "matplotlib", "sklearn", "lightgbm")


@cache
def imports(source: str) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """The statements that import, wherever in a module they are; six tests ask for those of the same modules."""
    return tuple(node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom))


def imported_modules(source: str) -> Iterator[str]:
    """Dotted names of everything a module imports."""
    for node in imports(source):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            assert node.level == 0, f"relative import in line {node.lineno}: write the package's name"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def forbidden(package: str, source: str) -> set[str]:
    """Packages of ours that ``source``, a module of ``package``, imports and must not."""
    return (
        ({name.split(".")[0] for name in imported_modules(source)} & MAY_IMPORT.keys())
        - MAY_IMPORT[package]
        - {package}
    )


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_the_architecture_allows(package: str) -> None:
    modules = sorted((REPOSITORY / package).rglob("*.py"))
    assert modules, f"{package} has no modules"
    edges = {str(m.relative_to(REPOSITORY)): forbidden(package, m.read_text(encoding="utf-8")) for m in modules}
    assert {module: found for module, found in edges.items() if found} == {}


def documented_folders() -> dict[str, set[str]]:
    """The table of docs/architecture.md: by folder, the folders that it may import."""
    text = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[([\w/]+)\]\(\S+\) \|.*\| ([^|]+) \|$", text, re.MULTILINE)
    table: dict[str, set[str]] = {}
    for folder, allowed in rows:
        words = set() if allowed == "nothing of ours" else set(allowed.split(", "))
        table[folder] = (words - {"all above"}) | (set(table) if "all above" in words else set())
    return table


def folder_of(parts: Sequence[str]) -> str:
    """A module's folder in that table: ``data/vectors`` for ``data.vectors.read``, ``retrieval`` for any of its own."""
    nested = parts[0] in ("data", "training") and len(parts) > 1 and (REPOSITORY / parts[0] / parts[1]).is_dir()
    return "/".join(parts[: 2 if nested else 1])


def test_folders_import_only_what_the_documents_say() -> None:
    table = documented_folders()
    places = list(table)
    for folder, allowed in table.items():
        climbs = {other for other in allowed if places.index(other) > places.index(folder)}
        assert climbs <= {"benchmarks"}, folder  # `catena bench` calls them
    found: dict[str, set[str]] = {folder: set() for folder in table}
    for package in MAY_IMPORT:
        for module in (REPOSITORY / package).rglob("*.py"):
            names = imported_modules(module.read_text(encoding="utf-8"))
            ours = {folder_of(name.split(".")) for name in names if name.split(".")[0] in MAY_IMPORT}
            found[folder_of(module.relative_to(REPOSITORY).parts)] |= ours
    assert {folder: beyond for folder in found if (beyond := found[folder] - table[folder] - {folder})} == {}


def folder_edges(package: str) -> dict[str, set[str]]:
    """Folders of a package, and which of its folders each imports; its own files are the folder ``ground``."""
    edges: dict[str, set[str]] = {}
    for module in (REPOSITORY / package).rglob("*.py"):
        parts = module.relative_to(REPOSITORY / package).parts
        here = parts[0] if len(parts) > 1 else "ground"
        for name in imported_modules(module.read_text(encoding="utf-8")):
            words = name.split(".")
            if words[0] != package or len(words) < 2:
                continue
            there = words[1] if (REPOSITORY / package / words[1]).is_dir() else "ground"
            if there != here:
                edges.setdefault(here, set()).add(there)
    return edges


def circle(edges: dict[str, set[str]]) -> list[str]:
    """The folders or modules of one circle of imports, empty where there is none."""
    done: set[str] = set()

    def walk(folder: str, path: list[str]) -> list[str]:
        if folder in path:
            return [*path[path.index(folder) :], folder]
        if folder in done:
            return []
        for other in sorted(edges.get(folder, ())):
            if found := walk(other, [*path, folder]):
                return found
        done.add(folder)
        return []

    return next((found for folder in edges if (found := walk(folder, []))), [])


@pytest.mark.parametrize("package", ["data", "training"])
def test_no_two_folders_of_a_package_need_each_other(package: str) -> None:
    edges = folder_edges(package)
    assert len(edges) >= 2
    assert circle(edges) == []
    assert "ground" not in edges  # what all folders use needs none of them


def module_edges(package: str) -> dict[str, set[str]]:
    """Modules of a package, and which of its modules each imports, wherever in it the import is."""
    files = {
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (REPOSITORY / package).rglob("*.py")
    }
    edges: dict[str, set[str]] = {}
    for name, path in files.items():
        found = edges[name] = set[str]()
        for node in imports(path.read_text(encoding="utf-8")):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names if alias.name in files}
            else:
                named = {f"{node.module}.{alias.name}" for alias in node.names}
                modules = {node.module or ""} if named - files.keys() else set()  # else it names modules alone
                found |= (named | modules) & files.keys()
        found.discard(name)
    return edges


@pytest.mark.parametrize("package", ORDER)
def test_no_two_modules_of_a_package_need_each_other(package: str) -> None:
    assert circle(module_edges(package)) == []


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"d"}}) == []
    assert circle({"a": {"b"}, "b": {"c", "d"}, "d": {"b"}}) == ["b", "d", "b"]


def test_a_forbidden_import_is_found_wherever_it_is() -> None:
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


def test_a_process_of_a_service_that_holds_no_model_does_not_load_torch() -> None:
    """Of the index, or of the ingress: a second and 180 MB each."""
    code = "import sys, serving.app; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert done.stdout.strip() == "False"
