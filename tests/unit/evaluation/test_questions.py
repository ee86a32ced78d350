"""The corpus's own questions: judgements that name documents it lacks."""

from pathlib import Path

import pyarrow as pa

from data.partitions import write_partition
from evaluation.questions import unknown_documents


def test_unknown_documents_are_counted_over_all_partitions(tmp_path: Path) -> None:
    for number, ids in enumerate((["a", "b"], ["c"])):
        write_partition(pa.table({"id": ids, "text": ids}), tmp_path / f"part-{number:05d}.parquet")
    qrels = {"q1": {"a": 1, "x": 1, "c": 0}, "q2": {"x": 0, "b": 2}, "q3": {f"y{n}": 1 for n in range(9)}}
    found = unknown_documents(qrels, tmp_path)
    assert found == {"documents": 10, "judgements": 11, "examples": ["x", "y0", "y1", "y2", "y3"]}
    assert unknown_documents({"q1": {"a": 1}}, tmp_path) == {"documents": 0, "judgements": 0, "examples": []}
