"""The built-in corpus, and the process apart that reads it."""

import socket
from pathlib import Path

import pytest

from data.errors import InputError
from data.sources import SourceConfig, fingerprint
from data.sources.pydocs.source import connected_part, docstrings, read_packages
from data.sources.rows import Document, Link, Reject, Skipped


@pytest.fixture(scope="module")
def networkx() -> tuple[dict[str, Document], list[Link]]:
    rows = [row for _, row in read_packages(["networkx"], None, 40)]
    return {row.id: row for row in rows if isinstance(row, Document)}, [row for row in rows if isinstance(row, Link)]


def test_a_document_is_called_by_its_shortest_public_name(networkx: tuple[dict[str, Document], list[Link]]) -> None:
    documents, _ = networkx
    document = documents["networkx.pagerank"]
    assert document.title == "networkx.pagerank"
    assert document.text.startswith("Returns the PageRank of the nodes in the graph.")
    assert document.metadata == {"package": "networkx", "kind": "function"}
    assert "networkx.algorithms.link_analysis.pagerank_alg.pagerank" not in documents
    assert "networkx.Graph.add_edge" in documents
    assert len(documents) > 1200


def test_see_also_becomes_links_and_leaves_the_text(networkx: tuple[dict[str, Document], list[Link]]) -> None:
    documents, links = networkx
    assert Link("networkx.pagerank", "networkx.google_matrix", "see_also") in links
    assert not any("See Also\n---" in document.text for document in documents.values())
    assert sum(link.target in documents for link in links) > 0.95 * len(links)


def test_a_part_of_the_corpus_is_connected_and_always_the_same() -> None:
    def part() -> tuple[list[str], list[tuple[str, str]], list[object]]:
        rows = [row for _, row in read_packages(["networkx"], 40, 40)]
        links = [(row.source, row.target) for row in rows if isinstance(row, Link)]
        ids = [row.id for row in rows if isinstance(row, Document)]
        return ids, [link for link in links if link[1] in ids], [row for row in rows if isinstance(row, Skipped)]

    ids, links, skipped = part()
    assert len(ids) == 40
    reached = {ids[0]}
    for _ in ids:
        reached |= {end for link in links if reached & set(link) for end in link}
    assert reached == set(ids)
    assert Skipped("documents beyond max_documents") in skipped
    assert part() == (ids, links, skipped)


def test_the_connected_part_starts_at_the_hub_and_goes_on_where_a_component_ends() -> None:
    links = [("hub", "a"), ("hub", "b"), ("hub", "c"), ("x", "y")]
    nodes = ["a", "b", "c", "hub", "x", "y", "z"]
    assert connected_part(nodes, links, 3) == {"hub", "a", "b"}
    assert connected_part(nodes, links, 6) == {"hub", "a", "b", "c", "x", "y"}
    assert connected_part(nodes, links, 99) == set(nodes)


def test_the_fingerprint_is_the_versions() -> None:
    config = SourceConfig.model_validate({"pydocs": {"packages": ["numpy", "sklearn"]}})
    assert set(fingerprint(config)) == {"numpy", "sklearn"}
    with pytest.raises(InputError, match="no_such_package is not installed"):
        fingerprint(SourceConfig.model_validate({"pydocs": {"packages": ["no_such_package"]}}))


def package(folder: Path, monkeypatch: pytest.MonkeyPatch, **modules: str) -> None:
    (folder / "badly").mkdir()
    (folder / "badly" / "__init__.py").write_text('"""A package to be read with care."""\nprint("hello")\n')
    for name, code in modules.items():
        (folder / "badly" / f"{name}.py").write_text(f'"""A module of the package."""\n{code}\n')
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_a_module_that_acts_at_import_is_stopped_and_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "kept.txt"
    kept.touch()
    with socket.create_server(("127.0.0.1", 0)) as server:
        package(
            tmp_path, monkeypatch,
            connects=f"import socket\nsocket.create_connection({server.getsockname()!r})",
            starts="import subprocess\nsubprocess.run(['true'])",
            removes=f"import os\nos.remove({str(kept)!r})",
            raises="1 / 0",
            leaves="raise SystemExit(3)",
            good="def answer():\n    '''What the answer to everything is, in a sentence.'''",
        )  # fmt: skip
        rows = [row for _, row in read_packages(["badly"], None, 10)]
    assert kept.exists()
    assert {row.id for row in rows if isinstance(row, Document)} == {"badly", "badly.good", "badly.good.answer"}
    reasons = {row.content: row.reason for row in rows if isinstance(row, Reject)}
    assert set(reasons) == {f"badly.{name}" for name in ("connects", "starts", "removes", "raises", "leaves")}
    assert "tried subprocess.Popen at import" in reasons["badly.starts"]
    assert "tried os.remove at import" in reasons["badly.removes"]


def test_a_crash_at_import_ends_the_child_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, monkeypatch, crashes="import ctypes\nctypes.string_at(0)")
    with pytest.raises(InputError, match="exit code -11"):
        list(docstrings(["badly"]))


def test_a_package_that_cannot_be_imported_is_an_error() -> None:
    with pytest.raises(InputError, match="no_such_package cannot be imported: ModuleNotFoundError"):
        list(read_packages(["no_such_package"], None, 10))
