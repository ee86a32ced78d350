"""A service of capabilities in a process of its own: ``python -m benchmarks.ranking.ranked_service FOLDER PORT``.

The catalogue is synthetic, so that it can have as many capabilities as are asked for; the encoder, the release, the
features, exploration and the journal are those of any service.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

from data.capabilities.catalogue import Catalogue
from data.capabilities.features import NAMES
from data.encoders import load_encoder
from data.encoders.config import TransformerConfig
from data.partitions import partition_name, write_partition
from data.schema import CAPABILITIES, TOOLS, TRACES
from evaluation.calibration import Calibrator
from evaluation.intent_calibration import IntentCalibrator
from ray_apps.cluster import connect
from ray_apps.config import RayConfig, load_run
from ray_apps.plan import Plan
from ray_apps.serve import release_of, stay
from serving.app import Service
from serving.artifacts import CapabilityArtifacts
from serving.config import RankConfig, ServeConfig
from serving.traffic import change_traffic, with_live
from training.ranking.served import CapabilityRanker

CAPABILITIES_THERE, TRACES_THERE, TEAMS = 2000, 20_000, 5
TRAFFIC = "traffic.json"
WORDS = [
    f"{verb} {noun}" for verb in ("book", "find", "send", "plan", "draw") for noun in ("a table", "routes", "maps")
]


def prepare(run: Path, folder: Path) -> None:
    """Write a catalogue, a ranker by cosines that weighs features, and the release of a run with both.

    Args:
        run: run file whose index and encoder are served.
        folder: that is filled.
    """
    rng = np.random.default_rng(0)
    ids = [capability(number) for number in range(CAPABILITIES_THERE)]
    texts = [f"{WORDS[n % len(WORDS)]} for department {n}" for n in range(CAPABILITIES_THERE)]
    tools = [{"id": id_, "name": id_, "description": text} for id_, text in zip(ids, texts, strict=True)]
    rows = [
        {"id": id_, "description": text, "tools": [id_], "metadata": json.dumps({"team": n % TEAMS})}
        for n, (id_, text) in enumerate(zip(ids, texts, strict=True))
    ]
    chosen, outcomes = rng.integers(0, CAPABILITIES_THERE, TRACES_THERE), ["success", "failure"]
    traces = [
        {"id": f"t{n}", "intent": f"intent {n}", "context": [], "shown": [], "chosen": ids[c], "steps": []}
        | {"outcome": outcomes[n % 2]}
        for n, c in enumerate(chosen.tolist())
    ]
    for name, table in (
        ("tools", (tools, TOOLS)),
        ("capabilities", (rows, CAPABILITIES)),
        ("traces", (traces, TRACES)),
    ):
        (folder / "catalogue" / name).mkdir(parents=True)
        write_partition(pa.Table.from_pylist(*table), folder / "catalogue" / name / partition_name(0))
    catalogue, encoder = Catalogue.open(folder / "catalogue"), load_encoder(TransformerConfig())
    weights = np.where(np.isin(NAMES, ["success_all", "log_runs_30d"]), 0.1, 0.0).astype(np.float32)
    CapabilityRanker(
        kind="cosine",
        version="benchmark",
        capabilities=catalogue.capabilities,
        texts=catalogue.texts,
        metadata=catalogue.metadata,
        can_run=catalogue.can_run,
        tools=catalogue.tools,
        fingerprint=encoder.fingerprint,
        intent_map=np.eye(encoder.dim, dtype=np.float32),
        context_map=None,
        tool_vectors=np.zeros((len(catalogue.tools), encoder.dim), np.float32),
        keys=encoder.encode(catalogue.texts),
        heads=1,
        features=NAMES,
        feature_weights=weights,
        calibrator=IntentCalibrator(Calibrator("platt", np.empty(0), np.empty(0), 4.0, -1.0)),
    ).save(folder / "ranker")
    artifacts = CapabilityArtifacts(ranker=folder / "ranker", catalogue=folder / "catalogue")
    release = release_of(Plan(load_run(run))).model_copy(update={"id": "benchmark", "capabilities": artifacts})
    change_traffic(folder / TRAFFIC, lambda traffic: with_live(traffic, release))


def capability(number: int) -> str:
    """Id of one of the capabilities."""
    return f"department-{number:04d}"


def main(folder: Path, port: int) -> None:
    """Serve what ``prepare`` has written, until SIGTERM."""
    config = ServeConfig(port=port, rank=RankConfig(explore="thompson"))
    connect(RayConfig())
    service = Service(traffic=folder / TRAFFIC, journals=folder / "journals", features=folder, serve=config)
    stay(lambda: service, config, "ranking")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
