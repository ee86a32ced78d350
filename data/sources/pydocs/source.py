"""The built-in corpus: docstrings of installed libraries, linked by their hand-written "See Also" sections.

A document is a public module, class, function or method; its id is its dotted public name, the shortest where it has
several. Its See Also section becomes links and is cut out of its text.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import Field

from data.artifacts import StageConfig
from data.errors import InputError
from data.sources.pydocs.see_also import Names, cut_see_also
from data.sources.rows import Document, Link, Reading, ReadTask, Reject, Skipped

PACKAGES = ("numpy", "scipy", "sklearn", "pandas", "networkx", "polars")
DISTRIBUTIONS = {"sklearn": "scikit-learn"}
SCRIPT = Path(__file__).with_name("docstrings.py")
TIMEOUT_S = 300.0


class PydocsSource(StageConfig):
    """Documented Python libraries."""

    packages: tuple[str, ...] = Field(
        PACKAGES, min_length=1, description="import names of installed packages; they are imported, in a child process"
    )
    max_documents: int | None = Field(
        None, ge=2, description="keep at most so many documents: the largest connected parts, always the same"
    )
    min_chars: int = Field(40, ge=1, description="shorter docstrings are left out, in characters")

    def versions(self) -> dict[str, str]:
        """Version of each package.

        Raises:
            InputError: if one is not installed.
        """
        versions: dict[str, str] = {}
        for package in self.packages:
            try:
                versions[package] = metadata.version(DISTRIBUTIONS.get(package, package))
            except metadata.PackageNotFoundError:
                raise InputError(
                    f"source.pydocs.packages: {package} is not installed", f"pip install {package}, or take it out."
                ) from None
        return versions

    def tasks(self) -> list[ReadTask]:
        """One: a package's links lead into others."""
        read = partial(read_packages, self.packages, self.max_documents, self.min_chars)
        return [ReadTask(", ".join(self.packages), "docstring", read)]


def read_packages(packages: Sequence[str], max_documents: int | None, min_chars: int) -> Reading:
    """Documents and links of packages. A link to a name that is no document is passed on unchanged, to be rejected.

    Raises:
        InputError: if a package cannot be imported.
    """
    documents: dict[str, Document] = {}
    mentions: dict[str, list[str]] = {}
    aliases: dict[str, list[str]] = {}
    for record in docstrings(packages):
        if "failed" in record:
            if record["module"] in packages:
                raise InputError(
                    f"{record['module']} cannot be imported: {record['failed']}", "Correct it or take it out."
                )
            yield 0, Reject("documents", f"module not imported: {record['failed']}", record["module"])
            continue
        text, names = cut_see_also(record["doc"])
        id_ = record["name"]
        if len(text) < min_chars:
            yield 0, Skipped("docstrings shorter than min_chars")
            continue
        documents[id_] = Document(id_, id_, text, {"package": record["package"], "kind": record["kind"]})
        mentions[id_], aliases[id_] = names, record["aliases"]
    table = Names(aliases)
    found = [(source, name, table.resolve(name, source)) for source, names in mentions.items() for name in names]
    kept = set(documents)
    if max_documents is not None:
        kept = connected_part(sorted(documents), [(s, t) for s, _, t in found if t is not None], max_documents)
    number = {id_: n for n, id_ in enumerate(documents, start=1)}
    for id_, document in documents.items():
        yield number[id_], document if id_ in kept else Skipped("documents beyond max_documents")
    for source, name, target in found:
        if source in kept and (target is None or target in kept):
            yield number[source], Link(source, target or name, "see_also")
        else:
            yield number[source], Skipped("links beyond max_documents")


def connected_part(nodes: Sequence[str], links: Sequence[tuple[str, str]], size: int) -> set[str]:
    """A part of a graph, of at most ``size`` nodes, that is connected where one component has so many.

    Breadth first, neighbours by name, from the node with the most of them in the largest component; where that is
    smaller than ``size``, on in the next.
    """
    neighbours: dict[str, set[str]] = {node: set() for node in nodes}
    for source, target in links:
        neighbours[source].add(target)
        neighbours[target].add(source)
    components: list[list[str]] = []
    seen: set[str] = set()
    for start in sorted(nodes, key=lambda node: (-len(neighbours[node]), node)):
        if start not in seen:
            components.append(_breadth_first(start, neighbours))
            seen.update(components[-1])
    components.sort(key=len, reverse=True)  # stable: of equal ones, the one with the larger hub comes first
    return set([node for component in components for node in component][:size])


def _breadth_first(start: str, neighbours: Mapping[str, set[str]]) -> list[str]:
    order = {start: None}
    queue = [start]
    for node in queue:
        fresh = sorted(neighbours[node] - order.keys())
        order.update(dict.fromkeys(fresh))
        queue += fresh
    return queue


def docstrings(packages: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The records of ``docstrings.py``, run in a child process: an import that crashes cannot affect this one.

    Raises:
        InputError: if the process dies or takes longer than TIMEOUT_S.
    """
    quiet = {"PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONHASHSEED": "0"}
    with subprocess.Popen(  # -P: the script's own folder is no place to import from; -B: nothing is written
        [sys.executable, "-P", "-B", str(SCRIPT), *packages],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **quiet},
        encoding="utf-8",
    ) as child:
        watch = threading.Timer(TIMEOUT_S, child.kill)
        watch.start()
        try:
            assert child.stdout is not None
            for line in child.stdout:
                yield json.loads(line)
        except GeneratorExit:  # nobody reads on
            child.kill()
            raise
        finally:
            watch.cancel()
    if child.returncode != 0:
        raise InputError(
            f"reading the docstrings of {', '.join(packages)} ended with exit code {child.returncode}",
            "Import each in a separate Python to see why; leave out the one that fails (source.pydocs.packages).",
        )
