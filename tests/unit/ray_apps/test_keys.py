"""``catena keys``: made, listed, revoked; and a service that faces others asks for them."""

import json
from pathlib import Path

import pytest

from data.errors import InputError
from ray_apps.cli import main
from ray_apps.serve_checks import check_exposure
from serving.config import ServeConfig
from serving.keys import KeyRing, create_key


def result(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    assert main([*words, "--json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_a_key_is_made_listed_and_revoked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(tmp_path / "keys.json")
    made = result(capsys, "keys", "create", file, "--for", "shop", "--scopes", "search,embed", "--per-minute", "600")
    assert KeyRing(Path(file)).find(str(made["key"])) is not None
    assert made["scopes"] == ["search", "embed"]
    listed = result(capsys, "keys", "list", file)["keys"]
    assert listed == [{"id": made["id"], "name": "shop", "scopes": ["search", "embed"], "per_minute": 600}]
    assert result(capsys, "keys", "revoke", file, str(made["id"])) == {"revoked": made["id"], "name": "shop"}
    assert result(capsys, "keys", "list", file) == {"keys": []}


def test_people_are_told_that_the_key_is_shown_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "create", str(tmp_path / "keys.json"), "--for", "shop"]) == 0
    key, told = capsys.readouterr().out.splitlines()
    assert key.startswith("catena_") and "only time" in told
    assert main(["keys", "list", str(tmp_path / "keys.json")]) == 0
    assert "shop" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["create", "keys.json", "--for", "a", "--scopes", "serch"], "no scope 'serch'; there are search"),
        (["create", "keys.json"], "--for"),
        (["create", "keys.json", "--for", "a", "--per-minute", "0"], "not a whole number of at least 1"),
        (["revoke", "nowhere.json", "abc"], "has no key 'abc'"),
    ],
)
def test_a_mistake_is_named(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["keys", *words]) != 0
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "some.host"])
def test_a_service_that_others_reach_asks_for_keys(host: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no key is asked for"):
        check_exposure(ServeConfig(host=host))
    with pytest.raises(InputError, match="has no keys"):
        check_exposure(ServeConfig(host=host, keys=tmp_path / "keys.json"))
    create_key(tmp_path / "keys.json", "shop", ["search"])
    check_exposure(ServeConfig(host=host, keys=tmp_path / "keys.json"))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_a_service_of_this_machine_alone_needs_none(host: str) -> None:
    check_exposure(ServeConfig(host=host))
