"""CSV and TSV: quotes, headers, line ends, and that no line is lost without a word."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from data.errors import InputError
from data.sources import SourceConfig, read_tasks
from data.sources.delimited import delimited, has_quotes
from data.sources.landing import land
from data.sources.lines import Broken
from data.sources.rows import Document, Reject

DOCUMENT = '{"id": "a", "text": "one"}\n'
COLUMNS = {
    "documents": "id,text",
    "links": "source,target",
    "queries": "id,text",
    "qrels": "query_id,document_id,score",
}
ROW = {"documents": "{n},text", "links": "{n},b", "queries": "{n},text", "qrels": "{n},a,1"}


def write(path: Path, content: str | bytes) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def tasks_of(folder: Path, table: str, path: str, **options: object) -> Any:  # noqa: ANN401 - a list of tasks
    files: dict[str, Any] = {"documents": {"path": write(folder / "only.jsonl", DOCUMENT)}}
    files[table] = {"path": path, **options}
    return [task for task in read_tasks(SourceConfig.model_validate({"files": files})) if "only" not in task.source]


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".csv.gz"])
@pytest.mark.parametrize("table", list(COLUMNS))
def test_a_quote_open_at_the_end_rejects_every_line_it_swallowed(tmp_path: Path, table: str, ending: str) -> None:
    good = [ROW[table].format(n=n) for n in range(3)]
    opened = ROW[table].format(n="x").replace("x,", 'x,"', 1)
    lines = [COLUMNS[table], good[0], opened, *good[1:]]
    content = "".join(f"{line}\n" for line in lines)
    if ending == ".tsv":
        content = content.replace(",", "\t")
    path = write(tmp_path / f"t{ending}", gzip.compress(content.encode()) if ending.endswith("gz") else content)
    (task,) = tasks_of(tmp_path, table, path, quoted=True)
    rows = list(task.read())
    assert [position for position, row in rows if not isinstance(row, Reject)] == [2]
    rejected = {position: row.reason for position, row in rows if isinstance(row, Reject)}
    assert rejected == dict.fromkeys((3, 4, 5), "a quote that is never closed: in the record of line 3")
    assert "first_reject" in land(task, 0, tmp_path / "landed", strict=True)


def test_a_quote_open_at_the_end_of_one_shard_does_not_touch_the_next(tmp_path: Path) -> None:
    write(tmp_path / "s0.csv", 'id,text\n1,one\n2,"open')
    write(tmp_path / "s1.csv", "id,text\n3,three\n")
    rows = [row for task in tasks_of(tmp_path, "documents", str(tmp_path / "s*.csv")) for _, row in task.read()]
    assert [row.id for row in rows if isinstance(row, Document)] == ["1", "3"]
    assert [row.reason for row in rows if isinstance(row, Reject)] == ["a quote that is never closed"]


def test_a_quote_that_swallows_other_records_before_it_is_closed_is_no_csv(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "d.csv", 'id,text\n1,"open\n2,two\n3,"three"\n4,four\n'))
    found = list(delimited(path, "csv"))
    assert found[-1] == (5, {"id": "4", "text": "four"})
    assert {n: row.reason for n, row in found if isinstance(row, Broken)} == dict.fromkeys(
        (2, 3, 4), "not CSV: ',' expected after '\"': in the record of line 2"
    )


def test_a_record_with_bytes_that_are_no_utf8_is_rejected_whole(tmp_path: Path) -> None:
    content = b'id,text\n1,"one\n\xff two\nthree"\n2,two\n'
    found = list(delimited(Path(write(tmp_path / "d.csv", content)), "csv"))
    assert [(n, row.reason) for n, row in found if isinstance(row, Broken)] == [
        (2, f"not UTF-8 at byte {content.index(255)}: in the record of line 2"),
        (3, f"not UTF-8 at byte {content.index(255)}"),
        (4, f"not UTF-8 at byte {content.index(255)}: in the record of line 2"),
    ]
    assert found[-1] == (5, {"id": "2", "text": "two"})


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_header_and_rows_are_read_alike_with_any_line_end(tmp_path: Path, end: str, bom: str) -> None:
    content = f'{bom}"id","The\n""text""",other\n\n1,"one\ntwo",x\n2,żółw,y\n'.replace("\n", end)
    (task,) = tasks_of(tmp_path, "documents", write(tmp_path / "d.csv", content), text='The\n"text"')
    assert [(n, row) for n, row in task.read()] == [
        (4, Document("1", "", "one\ntwo", {"other": "x"})),
        (6, Document("2", "", "żółw", {"other": "y"})),
    ]


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_json_lines_with_any_line_end(tmp_path: Path, end: str) -> None:
    content = f'{{"id": 1, "text": "one"}}{end}{{"id": 2, "text": "\xe9"}}{end}'.encode("latin-1")
    (task,) = tasks_of(tmp_path, "documents", write(tmp_path / "d.jsonl", content))
    (_, good), (place, bad) = task.read()
    assert (good.id, place, bad.reason) == ("1", 2, f"not UTF-8 at byte {content.index(233)}")


@pytest.mark.parametrize("content", ['id,"text\n1,one\n', 'id,"te"xt\n1,one\n', b"id,\xff\n1,one\n", "", "\n\n"])
def test_a_header_that_cannot_be_read_is_an_error_that_names_the_file(tmp_path: Path, content: str | bytes) -> None:
    with pytest.raises(InputError, match=r"d\.csv: (the header cannot be read|empty)"):
        tasks_of(tmp_path, "documents", write(tmp_path / "d.csv", content))


@pytest.mark.parametrize(
    ("content", "quoted"),
    [
        ('"id"\t"text"\n"1"\t"one"\n', True),  # R, and csv.QUOTE_ALL
        ('id\ttext\n1\tone\n2\t"say ""two"""\n', True),  # Excel, pandas: only what holds a quote
        ('id\ttext\n1\t"one\nline"\n2\ttwo\n', True),
        ('id\ttext\n1\t"one\ttab"\n2\ttwo\n', True),
        ("id\ttext\n1\tone\n", False),
        ('id\ttext\n1\ta "word"\n', False),
        ('id\ttext\n1\t"Weird Al" Yankovic\n2\t"quoted"\n', False),
        ('id\ttext\n1\t"one\n2\ttwo\n', False),
        ('token\tn\n"\t1\na\t2\n"\t3\n', False),  # quotes that are words themselves
        ('id\ttext\n1\t5" disk\n', False),
    ],
)
def test_a_tsv_tells_whether_its_fields_stand_in_quotes(tmp_path: Path, content: str, quoted: bool) -> None:
    assert has_quotes(Path(write(tmp_path / "d.tsv", content))) == quoted


def test_a_long_tsv_is_told_by_its_beginning_even_if_that_ends_within_quotes(tmp_path: Path) -> None:
    row = '{n}\t"a ""long""\nnote"\n'
    content = "id\ttext\n" + "".join(row.format(n=n) for n in range(100_000))
    assert has_quotes(Path(write(tmp_path / "d.tsv", content)))
    assert not has_quotes(Path(write(tmp_path / "e.tsv", content.replace('""', ' "'))))


def test_a_quoted_tsv_is_read_without_its_quotes_and_the_task_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "d.tsv", '"id"\t"text"\n"1"\t"say ""one"""\n')
    (task,) = tasks_of(tmp_path, "documents", path)
    assert [row for _, row in task.read()] == [Document("1", "", 'say "one"')]
    assert task.note == f"{path}: TSV with fields in quotes, read without the quotes"
    with pytest.raises(InputError, match="no column 'id'"):
        tasks_of(tmp_path, "documents", path, quoted=False)
