"""A small catalogue whose traces say more than its texts do, and pairs of tools that only their tools explain."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from data.capabilities.catalogue import Catalogue
from data.capabilities.traces import Traces
from data.schema import CAPABILITIES, TOOLS, TRACES
from evaluation.capability_split import CapabilitySplit, parts_of
from training.ranking.experience import Experience
from training.ranking.past import Past

DIM, TOOLS_THERE = 16, 20
PROPENSITIES = (0.5, 0.25, 0.25)

Make = Callable[..., Experience]


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def tables(rows: list[dict[str, object]], schema: pa.Schema) -> pa.Table:
    filled = [{name: row.get(name) for name in schema.names} for row in rows]
    return pa.Table.from_pylist(filled, schema=schema)


def made(
    count: int = 600,
    failures: float = 0.0,
    pairs: int = 0,
    groups: bool = False,
    seed: int = 0,
    logged: bool = False,
    there: int = TOOLS_THERE,
) -> Experience:
    """Experience of some tools, each a capability, and of capabilities of two tools.

    Intents of a capability lie around a point of their own that its text is only near to. Logged, what runs is drawn of
    three that are shown, the right one first.
    """
    rng = np.random.default_rng(seed)
    tools = [{"id": f"t{n}", "name": f"tool {n}", "description": f"does {n}"} for n in range(there)]
    uses = [[f"t{n}"] for n in range(there)]
    uses += [[f"t{n}", f"t{(n + 7) % there}"] for n in range(pairs)]
    capabilities: list[dict[str, object]] = [
        {"id": f"c{n}", "description": f"capability {n}", "tools": own, "parent": "g0" if groups else None}
        for n, own in enumerate(uses)
    ]
    if groups:
        capabilities.append({"id": "g0", "description": "all of them", "tools": []})
    texts, apart = unit(rng.normal(size=(there, DIM))), unit(rng.normal(size=(there, DIM)))
    centres = unit(texts + 0.8 * apart)
    numbers = [[int(id_[1:]) for id_ in own] for own in uses]
    chosen = rng.integers(0, len(uses), count)
    points = np.stack([centres[numbers[one]].mean(axis=0) for one in chosen])
    intents = unit(points + 0.15 * rng.normal(size=(count, DIM)))
    fails = rng.random(count) < failures
    drawn = rng.choice(3, count, p=PROPENSITIES)
    shown = [[int(one), *((one + 1 + rng.permutation(5)[:2]) % len(uses)).tolist()] for one in chosen]
    traces: list[dict[str, object]] = [
        {
            "id": f"x{n}",
            "intent": f"please do {n}",
            "context": [],
            "shown": [f"c{s}" for s in shown[n]] if logged else [],
            "propensities": list(PROPENSITIES) if logged else None,
            "chosen": f"c{shown[n][drawn[n]] if logged else (one + 5) % len(uses) if fails[n] else one}",
            "steps": [],
            "outcome": "failure" if (drawn[n] > 0 if logged else fails[n]) else "success",
        }
        for n, one in enumerate(chosen)
    ]
    catalogue = Catalogue.of_tables(tables(tools, TOOLS), tables(capabilities, CAPABILITIES))
    seen = Traces.of_table(tables(traces, TRACES), catalogue)
    vectors = [texts[own].mean(axis=0) for own in numbers] + ([texts.mean(axis=0)] if groups else [])
    split = CapabilitySplit(valid=0.15, judge=0.15)
    return Experience(
        catalogue=catalogue,
        traces=seen,
        intents=intents,
        capabilities=unit(np.stack(vectors)),
        tools=texts,
        fingerprint="of-the-test",
        part=parts_of(seen.intents, split),
        reward=seen.reward,
        past=Past.none(len(catalogue), len(seen)),
    )


@pytest.fixture(scope="session")
def make() -> Make:
    return made


@pytest.fixture(scope="session")
def small() -> Experience:
    return made()
