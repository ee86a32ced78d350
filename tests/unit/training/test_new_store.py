"""A new store of MLflow: what MLflow would have made, and never in the place of one that is there."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.store.db.utils import _verify_schema
from sqlalchemy import create_engine

from training import new_store
from training.tracking import connect


def names(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as opened:
        return [name for (name,) in opened.execute("SELECT name FROM sqlite_master ORDER BY name")]


def test_it_has_mlflows_newest_schema_and_is_written_to(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "mlflow.db"
    client = connect(f"sqlite:///{file}")
    made = client.create_experiment("of the test")
    assert client.get_experiment(made).name == "of the test"
    assert {path.name for path in file.parent.iterdir()} == {"mlflow.db"}
    engine = create_engine(f"sqlite:///{file}")
    _verify_schema(engine)
    engine.dispose()
    assert "runs" in names(file) and "model_versions" in names(file)


def test_what_is_there_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mlflow.db"
    file.write_bytes(b"another's")
    new_store.make_store(file)
    assert file.read_bytes() == b"another's"

    file.unlink()
    link = new_store.os.link

    def late(source: Path, target: Path) -> None:
        target.write_bytes(b"made meanwhile")
        link(source, target)

    monkeypatch.setattr(new_store.os, "link", late)
    new_store.make_store(file)
    assert file.read_bytes() == b"made meanwhile" and len(list(tmp_path.iterdir())) == 1
