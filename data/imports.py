"""User code, named by an import path such as ``my_package.corpora:load``: how it is found and identified.

Modules of the folder that Catena is started in can be imported, on a worker and in a submitted job as well. Code is
identified by the content of its source files, not by their place or time: a cluster to which the same code was sent
finds the artifacts that were made on a laptop.
"""

import ast
import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

from data.errors import InputError, in_one_line, nearest

IMPORT_PATH = r"^[\w.]+:\w+$"
CATENA = frozenset(
    {"data", "retrieval", "evaluation", "training", "discovery", "serving", "ray_apps", "benchmarks"}
)  # these packages are not part of the user's code
INSTALLED = frozenset({"site-packages", "dist-packages"})
REMEDY = "Install its package, put its folder on PYTHONPATH, or start from the folder that holds it."


def is_import_path(text: str) -> bool:
    """Whether a value of a run file names code, and not a model, a file or a URL."""
    return re.match(IMPORT_PATH, text) is not None and not text.startswith(".")


def load(key: str, path: str) -> Callable[..., Any]:
    """The function or class at an import path.

    Args:
        key: of the run file that holds the path, for the message.
        path: the import path.

    Raises:
        InputError: if there is none, or importing its module fails.
    """
    module, _, name = path.partition(":")
    with_current_folder()
    try:
        imported = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # a user's module may raise anything when it is imported
        raise InputError(f"{key}: {path}: {module} cannot be imported: {in_one_line(error)}", REMEDY) from error
    found = getattr(imported, name, None)
    if not callable(found):
        public = [key for key, value in vars(imported).items() if callable(value) and not key.startswith("_")]
        raise InputError(
            f"{key}: {path}: {module} has no function or class {name!r}; {nearest(name, public)}",
            "Check the name behind the colon.",
        )
    loaded: Callable[..., Any] = found
    return loaded


def with_current_folder() -> None:
    """Let modules of the current folder be imported; an installed command does not see them."""
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))


def code_digest(key: str, path: str) -> str:
    """A digest of the code behind an import path; nothing but namespaces is imported.

    Of the user's own code, all Python files of the package (or the one file of a module outside of any) count, and
    those of the user's other packages and modules that they import. Of an installed package, name and version count.

    Args:
        key: of the run file that holds the path, for the message.
        path: the import path.

    Raises:
        InputError: if there is no such module.
    """
    module = path.partition(":")[0]
    with_current_folder()
    first = _unit(module)
    if first is None:
        raise InputError(f"{key}: {path}: no module {module!r}", REMEDY)
    if first.installed and (distributions := packages_distributions().get(module.partition(".")[0])):
        return ", ".join(f"{name} {version(name)}" for name in sorted(set(distributions)))
    digest = hashlib.sha256()
    for unit in sorted(_with_imports(first), key=lambda unit: unit.name):
        for file in unit.files():
            content = file.read_bytes()
            digest.update(f"{unit.name} {unit.place(file)} {len(content)}\n".encode())
            digest.update(content)
    return f"sha256 {digest.hexdigest()[:32]}"


@dataclass(frozen=True)
class _Unit:
    """A package, the outermost on its path that is not a mere namespace; or a module outside of any package."""

    name: str
    path: Path  # the package's folder, or the module's file

    @property
    def installed(self) -> bool:
        return not INSTALLED.isdisjoint(self.path.parts)

    @property
    def is_users(self) -> bool:
        ours = self.name in CATENA and self.path.parent == Path(__file__).resolve().parents[1]
        return not self.installed and not ours

    def files(self) -> list[Path]:
        """Its source files, sorted."""
        return sorted(self.path.rglob("*.py")) if self.path.is_dir() else [self.path]

    def place(self, file: Path) -> str:
        """Path of a file within it, the same on every machine."""
        return file.relative_to(self.path).as_posix() if file != self.path else ""


def _unit(module: str) -> _Unit | None:
    """The unit a module belongs to; None where there is no such module, or it belongs to Python itself."""
    parts = module.split(".")
    if parts[0] in sys.stdlib_module_names:
        return None
    for n in range(1, len(parts) + 1):
        spec = _spec(".".join(parts[:n]))
        if spec is None:
            return None
        if spec.origin is not None and Path(spec.origin).is_file():
            file = Path(spec.origin).resolve()
            return _Unit(spec.name, file.parent if spec.submodule_search_locations else file)
    return None


def _spec(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):  # no such parent, a parent that is no package, no spec
        return None


def _with_imports(first: _Unit) -> set[_Unit]:
    """A unit and the user's own units that it imports, directly or not."""
    found = {first}
    waiting = [first]
    while waiting:
        unit = waiting.pop()
        for file in unit.files():
            for name in _imported(file, unit):
                other = _unit(name)
                if other is not None and other.is_users and other not in found:
                    found.add(other)
                    waiting.append(other)
    return found


def _imported(file: Path, unit: _Unit) -> Iterator[str]:
    """Names of what a source file imports, those after ``from … import`` included, as they may be modules."""
    try:
        tree = ast.parse(file.read_bytes()) if file.suffix == ".py" else ast.Module([], [])
    except (SyntaxError, ValueError):  # a template, or written for another Python: its bytes count all the same
        return
    package = unit.name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and unit.path == file:  # within a package all files count already
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{base}.{alias.name}" for alias in node.names)
