"""Keys: kept as hashes, found in constant time, scoped, limited, revoked without a restart."""

import hmac
import json
import stat
from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from starlette.middleware import Middleware

from data.errors import InputError
from serving.api.auth import Authenticated, needs
from serving.api.errors import answer_errors
from serving.keys import Key, KeyRing, Scope, create_key, read_keys, revoke_key


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "secret" / "keys.json"


def test_a_key_is_found_by_its_whole_text_alone(file: Path) -> None:
    key, whole = create_key(file, "shop", ["search"])
    other, _ = create_key(file, "batch", ["embed", "write"], per_minute=60)
    ring = KeyRing(file)
    assert ring.find(whole) == key and read_keys(file) == {key.id: key, other.id: other}
    prefix, id_, secret = whole.split("_", 2)
    for wrong in (
        "",
        "x",
        whole[:-1],
        whole + "a",
        f"{prefix}_{other.id}_{secret}",
        f"{prefix}_{id_}_",
        f"x_{id_}_{secret}",
    ):
        assert ring.find(wrong) is None


def test_the_file_has_no_secret_and_is_its_owners(file: Path) -> None:
    _, whole = create_key(file, "shop", ["search"])
    assert whole.split("_", 2)[2] not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_unknown_id_takes_a_comparison_too(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_key(file, "shop", ["search"])
    ring, compared = KeyRing(file), []
    real = hmac.compare_digest
    monkeypatch.setattr("serving.keys.hmac.compare_digest", lambda a, b: compared.append(b) or real(a, b))
    assert ring.find("catena_00000000_x") is None
    assert compared == ["0" * 64]


def test_a_revoked_key_opens_nothing_after_a_second_and_a_new_one_does(file: Path) -> None:
    clock = Clock()
    first, whole = create_key(file, "shop", ["search"])
    ring = KeyRing(file, clock=clock)
    assert revoke_key(file, first.id) == first
    _, later = create_key(file, "other", ["search"])
    clock.now += 1.5
    assert ring.find(whole) is None and ring.find(later) is not None
    with pytest.raises(InputError, match="has no key"):
        revoke_key(file, first.id)


def test_a_file_that_is_broken_later_leaves_the_keys_as_they_were(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    _, whole = create_key(file, "shop", ["search"])
    ring = KeyRing(file, clock=clock)
    file.write_text("[")
    clock.now += 1.5
    assert ring.find(whole) is not None and "is not a file of keys" in caplog.text


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", '[{"id": "a"}]', '[{"id":"a","name":"b","scopes":["x"],"sha256":"0"}]']
)
def test_a_file_that_has_no_keys_is_refused(file: Path, content: str) -> None:
    file.parent.mkdir()
    file.write_text(content)
    with pytest.raises(InputError, match="is not a file of keys"):
        read_keys(file)


def test_a_ring_without_keys_is_refused(file: Path) -> None:
    with pytest.raises(InputError, match="has no keys"):
        KeyRing(file)
    key, _ = create_key(file, "shop", ["search"])
    revoke_key(file, key.id)
    with pytest.raises(InputError, match="has no keys"):
        KeyRing(file)


def test_a_key_is_used_as_often_as_it_may_be(file: Path) -> None:
    clock = Clock()
    key, _ = create_key(file, "shop", ["search"], per_minute=3)
    ring = KeyRing(file, clock=clock)
    assert [ring.wait_s(key) for _ in range(3)] == [0.0] * 3
    assert ring.wait_s(key) == pytest.approx(20.0)
    clock.now += 20.0
    assert (ring.wait_s(key), ring.wait_s(key)) == (0.0, pytest.approx(20.0))
    clock.now += 3600.0
    assert [ring.wait_s(key) for _ in range(3)] == [0.0] * 3 and ring.wait_s(key) > 0


def test_each_of_several_processes_allows_its_share(file: Path) -> None:
    key, _ = create_key(file, "shop", ["search"], per_minute=6)
    ring = KeyRing(file, takers=3, clock=Clock())
    assert [ring.wait_s(key) > 0 for _ in range(3)] == [False, False, True]


def test_admin_opens_everything() -> None:
    key = Key(id="a", name="b", scopes=("admin",), sha256="0" * 64)
    assert key.may("search") and key.may("write")


def asked_with(file: Path) -> TestClient:
    """A service that asks for the keys of a file."""
    api = FastAPI(middleware=[Middleware(Authenticated, ring=KeyRing(file))])
    answer_errors(api)
    scopes: tuple[Scope, ...] = ("search", "embed")
    for scope in scopes:
        routes = APIRouter(dependencies=[needs(scope)])
        routes.add_api_route(f"/{scope}", lambda: "in")
        api.include_router(routes)
    api.add_api_route("/healthz", lambda: "well")
    return TestClient(api)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Bearer x", "Basic eDp5", "catena_1_2"])
def test_without_a_key_nothing_is_answered_but_probes(file: Path, header: str | None) -> None:
    create_key(file, "shop", ["search"])
    client = asked_with(file)
    headers = {} if header is None else {"authorization": header}
    answer = client.get("/search", headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json()["error"]["type"] == "unauthorized"
    assert client.get("/nowhere", headers=headers).status_code == 401
    assert client.get("/healthz", headers=headers).json() == "well"


def test_a_key_opens_what_its_scopes_name(file: Path) -> None:
    _, whole = create_key(file, "batch", ["embed"])
    client, headers = asked_with(file), {"authorization": f"bearer {whole}"}
    assert client.get("/embed", headers=headers).json() == "in"
    answer = client.get("/search", headers=headers)
    assert answer.status_code == 403 and "has no scope 'search'; it has embed" in answer.json()["error"]["message"]


def test_a_key_beyond_its_rate_is_told_when_to_come_again(file: Path) -> None:
    _, whole = create_key(file, "slow", ["search"], per_minute=2)
    client, headers = asked_with(file), {"authorization": f"Bearer {whole}"}
    assert [client.get("/search", headers=headers).status_code for _ in range(3)] == [200, 200, 429]
    answer = client.get("/search", headers=headers)
    assert answer.headers["retry-after"] == "30" and answer.json()["error"]["code"] == "rate_limit"


def test_keys_are_json_that_can_be_read(file: Path) -> None:
    key, _ = create_key(file, "shop", ["search"])
    (line,) = json.loads(file.read_text())
    assert line == key.model_dump(mode="json")
