"""A source that is a function of the user's own."""

from pathlib import Path

import pytest

from data.errors import InputError
from data.sources import SourceConfig, fingerprint, read_tasks
from data.sources.rows import Document, Link, Qrel, Query, Reject, Row, Skipped

MODULE = '''
def load(count=2):
    """A corpus."""
    for n in range(count):
        yield {"id": n, "title": f"Title {n}", "text": "text", "colour": "red"}
    yield {"source": 0, "target": 1, "weight": 2}
    yield {"table": "queries", "id": "q", "text": "what?"}
    yield {"query_id": "q", "document_id": 0, "score": 1}
    yield {"id": 9}
    yield "no mapping"

class Unprintable:
    def __str__(self):
        raise OSError("no")

def hostile():
    from data.sources.rows import Document, Link
    yield Document(None, "t", "x")
    yield Link("a", "b", "r", 10**400)
    yield {"id": Unprintable(), "text": "x"}
    yield {"id": 1, "text": Unprintable()}
    yield {("a", 1): 2}
    yield {"source": "a", "target": "b", "weight": float("nan"), "relation": None}
    yield {"table": Unprintable()}

def breaks():
    yield {"id": 1, "text": "text"}
    raise KeyError("gone")
'''


@pytest.fixture
def corpora(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"corpora_{abs(hash(tmp_path))}"  # a module is imported once a process
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def read(path: str, **arguments: object) -> list[Row | Reject | Skipped]:
    config = SourceConfig.model_validate({"function": {"path": path, "arguments": arguments}})
    return [row for task in read_tasks(config) for _, row in task.read()]


def test_it_yields_any_table(corpora: str) -> None:
    *rows, bad, worse = read(f"{corpora}:load", count=1)
    assert rows == [
        Document("0", "Title 0", "text", {"colour": "red"}),
        Link("0", "1", "related", 2.0),
        Query("q", "what?"),
        Qrel("q", "0", 1),
    ]
    assert isinstance(bad, Reject)
    assert bad.reason == "'text' is missing"
    assert isinstance(worse, Reject)
    assert worse.reason == "not a mapping: str"


def test_its_code_is_part_of_the_fingerprint(corpora: str, tmp_path: Path) -> None:
    config = SourceConfig.model_validate({"function": {"path": f"{corpora}:load"}})
    before = fingerprint(config)
    assert list(before) == [f"{corpora}:load"]
    (tmp_path / f"{corpora}.py").touch()
    assert fingerprint(config) == before
    (tmp_path / f"{corpora}.py").write_text(MODULE + "# changed")
    assert fingerprint(config) != before


def test_what_it_raises_is_told_with_the_line(corpora: str) -> None:
    with pytest.raises(InputError, match=rf"breaks failed after 1 rows: KeyError: 'gone' \(.*{corpora}\.py, line 28\)"):
        read(f"{corpora}:breaks")


def test_a_wrong_path_is_an_error(corpora: str) -> None:
    with pytest.raises(InputError, match="has no function or class 'lode'; did you mean 'load'"):
        read(f"{corpora}:lode")
    with pytest.raises(InputError, match=r"no module 'absent_package\.corpora'"):
        fingerprint(SourceConfig.model_validate({"function": {"path": "absent_package.corpora:load"}}))
    with pytest.raises(ValueError, match=r"function\.path"):
        SourceConfig.model_validate({"function": {"path": "no colon"}})


def test_rows_of_hostile_values_are_rejected(corpora: str) -> None:
    found = read(f"{corpora}:hostile")
    assert [row for row in found if not isinstance(row, Reject)] == [Link("a", "b", "related")]
    assert len(found) == 7
