"""Tables on disk: that a digest stands for rows, and not for how they lie in files."""

from pathlib import Path

import pyarrow as pa

from data.partitions import digest_of, partition_name, write_partition


def written(folder: Path, parts: list[list[dict[str, object]]]) -> Path:
    folder.mkdir()
    schema = pa.schema([("id", pa.string()), ("shown", pa.list_(pa.string()))])
    for number, rows in enumerate(parts):
        write_partition(pa.Table.from_pylist(rows, schema=schema), folder / partition_name(number))
    return folder


def test_a_digest_is_of_rows_in_their_order(tmp_path: Path) -> None:
    a, b, c = ({"id": name, "shown": [name, None]} for name in "abc")
    one = digest_of([written(tmp_path / "one", [[a, b, c]])])
    assert one == digest_of([written(tmp_path / "two", [[a], [], [b, c]])])
    assert one != digest_of([written(tmp_path / "order", [[a, c, b]])])
    assert one != digest_of([written(tmp_path / "fewer", [[a, b]])])
    assert one != digest_of([written(tmp_path / "null", [[a, b, {**c, "shown": None}]])])
    assert digest_of([tmp_path / "none"]) == digest_of([tmp_path / "none_either"])
