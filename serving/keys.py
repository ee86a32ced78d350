"""API keys: made once and shown once, kept as hashes in a file, each with scopes and a rate.

A key is ``catena_ID_SECRET``: the id finds its line, the secret is 256 random bits. Of a secret so long a plain SHA-256
is enough (OWASP, Password Storage Cheat Sheet: slow hashes are for what people think up).
"""

import hashlib
import hmac
import json
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from data.errors import InputError
from data.files import whole_or_absent
from data.locks import only_one

logger = logging.getLogger("catena")

Scope = Literal["search", "embed", "rerank", "write", "admin"]
SCOPES: tuple[Scope, ...] = ("search", "embed", "rerank", "write", "admin")

_PREFIX = "catena"
_LOOK_EVERY_S = 1.0
_NO_HASH = "0" * 64  # what an unknown id is compared with, so that it takes as long as a known one


class Key(BaseModel):
    """What is known of a key: all but its secret."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    name: str
    scopes: tuple[Scope, ...] = Field(min_length=1)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    per_minute: int | None = Field(None, ge=1)

    def may(self, scope: Scope) -> bool:
        """Whether it opens a route; ``admin`` opens all."""
        return scope in self.scopes or "admin" in self.scopes


_KEYS = TypeAdapter(list[Key])


def read_keys(path: Path) -> dict[str, Key]:
    """The keys of a file by their ids; none where there is no such file.

    Raises:
        InputError: if the file is not one of keys.
    """
    try:
        keys = _KEYS.validate_json(path.read_bytes()) if path.exists() else []
    except (ValidationError, OSError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        raise InputError(f"{path} is not a file of keys: {reason}", "Make one with `catena keys create`.") from None
    return {key.id: key for key in keys}


def create_key(path: Path, name: str, scopes: Iterable[Scope], per_minute: int | None = None) -> tuple[Key, str]:
    """Add a new key to a file, which is made where it is absent, readable by its owner alone.

    Returns:
        What is kept of the key, and the key itself, which nobody can be told again.
    """
    id_, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    key = Key(id=id_, name=name, scopes=tuple(scopes), sha256=_hash(secret), per_minute=per_minute)
    with _alone(path):
        _write(path, [*read_keys(path).values(), key])
    return key, f"{_PREFIX}_{id_}_{secret}"


def revoke_key(path: Path, id_: str) -> Key:
    """Take a key out of a file; services see it within a second.

    Raises:
        InputError: if there is no such key.
    """
    with _alone(path):
        keys = read_keys(path)
        if id_ not in keys:
            raise InputError(f"{path} has no key {id_!r}", "`catena keys list` shows them.")
        revoked = keys.pop(id_)
        _write(path, keys.values())
    return revoked


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with only_one(path.with_name(f".{path.name}.lock"), "keys"):
        yield


def _write(path: Path, keys: Iterable[Key]) -> None:
    with whole_or_absent(path) as unfinished:
        unfinished.touch(mode=0o600)
        unfinished.write_text(json.dumps([key.model_dump(mode="json") for key in keys], indent=1))


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class KeyRing:
    """The keys of a file as a service asks for them; a file that changes is read again.

    Args:
        path: of the file.
        takers: processes that take requests; each allows a key its share of the key's rate.
        clock: seconds that never fall.

    Raises:
        InputError: if the file is not one of keys, or has none: nobody could be let in.
    """

    def __init__(self, path: Path, takers: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._takers, self._clock = path, takers, clock
        self._seen, self._looked_s = self._stamp(), clock()
        self._keys = read_keys(path)
        self._buckets: dict[str, _Bucket] = {}
        if not self._keys:
            what = "has no keys" if path.exists() else "has no keys: there is no such file"
            raise InputError(f"{path} {what}", f"Make one with `catena keys create {path}`.")

    def find(self, given: str) -> Key | None:
        """The key that was given; None where it is unknown, revoked or wrong, all in the same time."""
        self._look_again()
        prefix, _, rest = given.partition("_")
        id_, _, secret = rest.partition("_")
        key = self._keys.get(id_) if prefix == _PREFIX else None
        right = hmac.compare_digest(_hash(secret), key.sha256 if key is not None else _NO_HASH)
        return key if right else None

    def wait_s(self, key: Key) -> float:
        """Seconds until the key may be used again; 0 where it may now, which is then counted."""
        if key.per_minute is None:
            return 0.0
        share = max(1.0, key.per_minute / self._takers)
        bucket = self._buckets.setdefault(key.id, _Bucket(share, self._clock()))
        return bucket.take(share, self._clock())

    def _look_again(self) -> None:
        now = self._clock()
        if now - self._looked_s < _LOOK_EVERY_S:
            return
        self._looked_s = now
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._keys = read_keys(self._path)
        except InputError as error:  # the keys from before go on being valid
            logger.error("keys: %s", error)

    def _stamp(self) -> tuple[int, int, int]:
        if not self._path.exists():
            return 0, 0, 0
        status = self._path.stat()
        return status.st_mtime_ns, status.st_size, status.st_ino


class _Bucket:
    """A token bucket: a minute's requests at once, then as many as come back."""

    def __init__(self, per_minute: float, now_s: float) -> None:
        self._left, self._at_s = per_minute, now_s

    def take(self, per_minute: float, now_s: float) -> float:
        self._left = min(per_minute, self._left + (now_s - self._at_s) * per_minute / 60)
        self._at_s = now_s
        if self._left < 1:
            return (1 - self._left) * 60 / per_minute
        self._left -= 1
        return 0.0
