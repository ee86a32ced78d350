"""The tier in this process: the least used goes, nothing outlives its time, the bound holds."""

import sys
import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data.cache import Entries
from data.cache.keys import cache_keys, text_hashes
from data.cache.memory import ENTRY_BYTES, MemoryTier

DIM = 8


def entries(*numbers: float) -> Entries:
    vectors = np.repeat(np.array(numbers, np.float32)[:, None], DIM, axis=1)
    return Entries(vectors, np.stack([numbers, numbers], axis=1).astype(np.int32))


def tier(capacity: int, ttl_s: float = 60.0) -> MemoryTier:
    return MemoryTier(capacity * (4 * DIM + ENTRY_BYTES) / 2**20, DIM, ttl_s)


def test_what_is_put_is_got_in_the_order_of_the_keys() -> None:
    memory = tier(10)
    memory.put_many([b"a", b"b", b"c"], entries(1, 2, 3))
    found, mask = memory.get_many([b"c", b"x", b"a", b"c"])
    assert mask.tolist() == [True, False, True, True]
    assert found.vectors[:, 0].tolist() == [3, 1, 3] == found.tokens[:, 0].tolist()
    assert found.vectors.dtype == np.float32


def test_the_least_used_makes_room() -> None:
    memory = tier(3)
    memory.put_many([b"a", b"b", b"c"], entries(1, 2, 3))
    memory.get_many([b"a"])
    memory.put_many([b"d"], entries(4))
    assert memory.get_many([b"a", b"b", b"c", b"d"])[1].tolist() == [True, False, True, True]
    assert len(memory) == 3


def test_of_a_batch_larger_than_the_bound_the_last_are_kept() -> None:
    memory = tier(2)
    memory.put_many([b"a", b"b", b"c"], entries(1, 2, 3))
    found, mask = memory.get_many([b"a", b"b", b"c"])
    assert mask.tolist() == [False, True, True] and found.tokens[:, 0].tolist() == [2, 3]


def test_no_room_keeps_nothing() -> None:
    memory = tier(0)
    memory.put_many([b"a"], entries(1))
    assert memory.get_many([b"a"])[1].tolist() == [False]


def test_nothing_outlives_its_time() -> None:
    now = [0.0]
    memory = MemoryTier(1, DIM, 10.0, clock=lambda: now[0])
    memory.put_many([b"a"], entries(1))
    now[0] = 9.9
    assert memory.get_many([b"a"])[1].all()
    now[0] = 10.1
    assert not memory.get_many([b"a", b"a"])[1].any() and len(memory) == 0


@given(st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 9), min_size=1, max_size=6, unique=True))))
def test_it_holds_what_a_plain_list_by_use_holds(operations: list[tuple[bool, list[int]]]) -> None:
    memory, model = tier(4), list[int]()
    for put, numbers in operations:
        keys = [bytes([number]) for number in numbers]
        if put:
            memory.put_many(keys, entries(*numbers))
        else:
            found, mask = memory.get_many(keys)
            assert mask.tolist() == [number in model for number in numbers]
            assert found.tokens[:, 0].tolist() == [number for number in numbers if number in model]
        for number in numbers:
            if put or number in model:
                model = [*(other for other in model if other != number), number][-4:]
        assert len(memory) == len(model) <= 4


def test_the_bound_in_bytes_is_kept_by_what_python_really_takes() -> None:
    tracemalloc.start()
    memory = MemoryTier(2, DIM, 60.0)
    for start in range(0, 3 * memory.capacity, 1000):
        keys = cache_keys("query", "0123456789abcdef", text_hashes([str(start + n) for n in range(1000)]))
        memory.put_many(keys, Entries(np.zeros((1000, DIM), np.float32), np.zeros((1000, 2), np.int32)))
        del keys
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(memory) == memory.capacity
    assert 0.5 * 2**21 < held <= 2**21, f"{held} bytes, key of {sys.getsizeof(next(iter(memory._rows)))}"
