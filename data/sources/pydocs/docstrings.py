"""Docstrings of packages as JSON lines on standard output. Run as a script, in a child process, by ``pydocs``.

Importing a package runs its code, so this process may not open a connection, start a program or remove a file while it
does; what a module prints goes nowhere. Only the standard library is imported besides the packages that are asked for.

Each line is an object: ``{"name", "aliases", "package", "kind", "doc"}``, or ``{"module", "failed"}`` for a module that
could not be imported.
"""

import importlib
import inspect
import json
import os
import pkgutil
import sys
import warnings
from collections.abc import Iterator
from types import GenericAlias, ModuleType
from typing import IO, Any

REFUSED = frozenset(
    "socket.connect socket.bind socket.sendto socket.getaddrinfo webbrowser.open urllib.Request subprocess.Popen "
    "os.system os.exec os.posix_spawn os.fork os.startfile os.remove os.rename shutil.rmtree".split()
)
NOT_PUBLIC = frozenset(
    # tests and vendored or machine-made code; `core` is private by its packages' own word (numpy, pandas)
    "tests test conftest setup externals core distutils f2py".split()
)


PROPER, INHERITED, INSTANCE, IMPORTED = range(4)  # ranks of a name: exported or defined there, and so on


class RefusedError(PermissionError):
    """A module tried at import what only a running program should do."""


def refuse(event: str, arguments: tuple[object, ...]) -> None:
    """Audit hook (PEP 578): raise before anything of REFUSED happens."""
    if event in REFUSED:
        raise RefusedError(f"tried {event} at import")


class Found:
    """Documented objects under all of their public names, distinguished by identity."""

    def __init__(self) -> None:
        self.names: dict[int, list[tuple[int, int, str]]] = {}
        self.described: dict[int, tuple[object, str, str]] = {}
        self.same: dict[tuple[str, str, str], int] = {}

    def add(self, name: str, thing: object, kind: str, rank: int) -> None:
        """Note a name of an object and its rank: how properly it is called that, PROPER first.

        Objects with one last name and one docstring are the same thing to a reader, such as methods that a class
        makes again for each of its subclasses.
        """
        doc = _doc(thing)
        key = (
            self.same.setdefault((name.partition(".")[0], name.rpartition(".")[2], doc), id(thing))
            if doc
            else id(thing)
        )
        self.names.setdefault(key, []).append((rank, len(name), name))
        self.described.setdefault(key, (thing, kind, doc))  # the object is held, or its identity could be used again

    def records(self) -> Iterator[dict[str, Any]]:
        """One record for each documented object, in the order of their names.

        It is called by the shortest of its names of the best rank; what is only imported somewhere is not public.
        """
        for key, (_, kind, doc) in self.described.items():
            (rank, _, name), *_ = names = sorted(self.names[key])
            if doc and rank < IMPORTED:
                aliases = sorted({alias for _, _, alias in names})
                yield {"name": name, "aliases": aliases, "package": name.partition(".")[0], "kind": kind, "doc": doc}


def _doc(thing: object) -> str:
    try:
        doc = getattr(thing, "__doc__", None)
    except Exception:
        return ""
    return inspect.cleandoc(doc).strip() if isinstance(doc, str) else ""


def _doc_as_written(cls: type) -> str:
    """A C type's docstring with the signature that ``__doc__`` hides, as its instances show it."""
    doc = vars(cls).get("__doc__")
    return inspect.cleandoc(doc).strip() if isinstance(doc, str) else ""


def walk(package: str, failed: list[dict[str, str]]) -> Iterator[ModuleType]:
    """The public modules of a package, the package first, imported one by one."""
    warnings.simplefilter("ignore")
    try:
        module = importlib.import_module(package)
    except (Exception, SystemExit) as error:
        failed.append({"module": package, "failed": f"{type(error).__name__}: {error}"})
        return
    yield module
    for found in sorted(pkgutil.iter_modules(getattr(module, "__path__", [])), key=lambda m: m.name):
        if not found.name.startswith("_") and found.name not in NOT_PUBLIC:
            yield from walk(f"{package}.{found.name}", failed)


def collect(module: ModuleType, name: str, found: Found) -> None:
    """Note a module, called by a name that may differ from its own, and its public members."""
    package = name.partition(".")[0]
    exported = set(getattr(module, "__all__", ()))
    found.add(name, module, "module", PROPER)
    for member, thing in _members(module):
        full = f"{name}.{member}"
        if isinstance(thing, ModuleType):
            if name == package and member in exported and thing.__name__ != full:
                collect(thing, full, found)  # numpy.emath is another module's better name
        elif _belongs(thing, package):
            here = member in exported or hasattr(module, "__path__") or _home(thing) == module.__name__
            collect_member(full, thing, PROPER if here else IMPORTED, found)


def collect_member(name: str, thing: object, rank: int, found: Found) -> None:
    """Note a function, a class with its methods, or another object that has something to say."""
    if inspect.isclass(thing):
        found.add(name, thing, "class", rank)
        collect_class(name, thing, rank, found)
    elif inspect.isroutine(thing) or type(thing).__name__ == "ufunc":
        found.add(name, thing, "function", rank)
    elif _doc(thing) in (_doc(type(thing)), _doc_as_written(type(thing))):
        found.add(name, type(thing), "object", max(rank, INSTANCE))  # public by its instance, where not by itself
    else:
        found.add(name, thing, "object", rank)


def collect_class(name: str, cls: type, rank: int, found: Found, depth: int = 0) -> None:
    """Note the public methods and properties of a class, and of the accessors that hang on it (``Series.str``)."""
    for member, raw in _members_static(cls):
        owner = next((c for c in cls.__mro__ if member in vars(c)), cls)
        if owner.__module__.partition(".")[0] != name.partition(".")[0]:
            continue
        full, accessor = f"{name}.{member}", _accessor(cls, member, raw)
        if accessor is not None:
            found.add(full, accessor, "class", max(rank, INHERITED))
            if depth == 0:
                collect_class(full, accessor, rank, found, depth + 1)
            continue
        thing = raw.__func__ if isinstance(raw, staticmethod | classmethod) else raw
        if inspect.isroutine(thing) or inspect.isdatadescriptor(thing):
            found.add(full, thing, "method", rank if owner is cls else max(rank, INHERITED))


def _accessor(cls: type, member: str, raw: object) -> type | None:
    """The class whose methods hang on an attribute of a class, where it is a namespace of methods."""
    if isinstance(raw, property) and raw.fget is not None:
        named = getattr(raw.fget, "__annotations__", {}).get("return")
        result = getattr(raw.fget, "__globals__", {}).get(named) if isinstance(named, str) else named
        return result if inspect.isclass(result) and result.__name__.endswith("NameSpace") else None
    if type(raw).__name__ in ("Accessor", "CachedAccessor"):
        result = getattr(cls, member, None)
        return result if inspect.isclass(result) else None
    return None


def _members(module: ModuleType) -> Iterator[tuple[str, Any]]:
    for name in sorted({*dir(module), *getattr(module, "__all__", ())}):
        if not name.startswith("_"):
            try:
                yield name, getattr(module, name)
            except Exception:  # a lazy attribute that cannot be made here
                continue


def _members_static(cls: type) -> Iterator[tuple[str, Any]]:
    for name in sorted(dir(cls)):
        if not name.startswith("_"):
            try:
                yield name, inspect.getattr_static(cls, name)
            except AttributeError:
                continue


def _belongs(thing: object, package: str) -> bool:
    """Whether an object is of this package, not one that it only imports."""
    if isinstance(thing, GenericAlias):  # shows the docstring of what it is an alias of
        return False
    return _home(thing).partition(".")[0] == package


def _home(thing: object) -> str:
    try:
        home = getattr(thing, "__module__", None) or type(thing).__module__
    except Exception:
        return ""
    return home if isinstance(home, str) else ""


def main(packages: list[str], out: IO[str]) -> None:
    """Write the records of the packages."""
    sys.addaudithook(refuse)
    failed: list[dict[str, str]] = []
    found = Found()
    for package in packages:
        for module in walk(package, failed):
            collect(module, module.__name__, found)
    for record in [*failed, *sorted(found.records(), key=lambda record: record["name"])]:
        out.write(json.dumps(record) + "\n")
    out.flush()


if __name__ == "__main__":
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    main(sys.argv[1:], answer)
    os._exit(0)  # a package's own exit handlers are not waited for
