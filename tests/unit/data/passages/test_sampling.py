"""A sample of passages is the table's own, drawn evenly, with what is wanted in it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data.partitions import partition_name, write_partition
from data.passages.chunk import SCHEMA
from data.passages.sampling import sample_passages

ROWS = 1000


@pytest.fixture
def passages(tmp_path: Path) -> Path:
    for part in range(4):
        rows = [
            {"id": f"{n}", "document_id": f"d{n // 2}", "start": 0, "end": 1, "text": f"text {n}", "title": "t"}
            for n in range(part * ROWS // 4, (part + 1) * ROWS // 4)
        ]
        write_partition(pa.Table.from_pylist(rows, schema=SCHEMA), tmp_path / partition_name(part))
    return tmp_path


def test_a_sample_is_in_order_and_repeats(passages: Path) -> None:
    sample = sample_passages(passages, 100, seed=3)
    numbers = [int(text.removeprefix("t\ntext ")) for text in sample.texts]
    assert len(set(numbers)) == 100 and numbers == sorted(numbers) and sample.of == ROWS
    assert sample.documents == [f"d{n // 2}" for n in numbers]
    assert abs(np.mean(numbers) - ROWS / 2) < 100  # four standard errors: from all of the table
    assert sample == sample_passages(passages, 100, seed=3) != sample_passages(passages, 100, seed=4)


def test_wanted_documents_are_always_in(passages: Path) -> None:
    sample = sample_passages(passages, 20, wanted={"d7", "d499", "absent"})
    assert len(sample.texts) == 20 and {"d7", "d499"} < set(sample.documents)
    wanted = {f"d{n}" for n in range(50)}
    assert set(sample_passages(passages, 20, wanted=wanted).documents) == wanted


def test_a_small_table_is_taken_whole(passages: Path) -> None:
    assert len(sample_passages(passages, 5000).texts) == ROWS
