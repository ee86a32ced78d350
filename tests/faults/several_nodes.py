"""Embedding on a cluster whose machines come and go; run as a script, since a process joins one cluster at a time.

``python tests/faults/several_nodes.py PASSAGES FOLDER`` prints one JSON object with what was seen of each job.
"""

import json
import os
import re
import sys
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

os.environ["RAY_metrics_report_interval_ms"] = "300"  # ten seconds, as it is by itself, are longer than these jobs

import ray
from ray.cluster_utils import Cluster

from data.embedding.config import EmbedConfig
from data.embedding.embed import embed
from data.encoders.config import PluginConfig
from ray_apps.cluster import connect
from ray_apps.config import RayConfig

SLOW = PluginConfig(model="tests.ray.slow_encoder:load")
METRIC = re.compile(r"^ray_(catena_embed_\w+?)(?:_total)?\{[^}]*\} ([\d.e+-]+)$", re.MULTILINE)


class Machines:
    """A cluster of machines that are processes here; ``ray.cluster_utils`` is Ray's own, for its tests."""

    def __init__(self) -> None:
        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 10**8})
        self.address = self._cluster.address

    def add(self, **resources: int) -> Any:  # noqa: ANN401 - a node of Ray's
        """Start a machine."""
        return self._cluster.add_node(object_store_memory=10**8, **resources)

    def lose(self, node: Any) -> None:  # noqa: ANN401
        """Kill a machine's processes without notice, as a spot machine is taken away."""
        self._cluster.remove_node(node, allow_graceful=False)

    def end(self) -> None:
        """Stop all of them."""
        ray.shutdown()
        self._cluster.shutdown()


def _actors() -> int:
    """How many processes of the cluster's machines hold an encoder."""
    count = 0
    for process in psutil.Process().children(recursive=True):
        try:
            count += "EmbedPartition" in " ".join(process.cmdline())
        except psutil.Error:  # it has just ended
            continue
    return count


def _metrics(node: dict[str, Any]) -> dict[str, float]:
    """The embedding's metrics as a machine's agent exports them, which is what Prometheus and the dashboard read."""
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:
            return {name: float(value) for name, value in METRIC.findall(answer.read().decode())}
    except OSError:
        return {}


def watched(
    passages: Path, out: Path, config: EmbedConfig, when_done: int, actors: int, act: Callable[[], object]
) -> dict[str, Any]:
    """Run a job, and look at it meanwhile: most actors at once, least of the GPU that was free, metrics.

    ``act`` is done once ``when_done`` partitions are there and ``actors`` have been. The job has a thread of its own,
    since Ray starts machines from the main one only.
    """
    seen: dict[str, Any] = {"actors": 0, "gpu_left": 1.0, "metrics": {}, "acted_at": None}
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(embed, passages, SLOW, config, out)
        while not job.done():
            time.sleep(0.1)
            done = len(list((out / "vectors").glob("part-*")))
            if seen["acted_at"] is None and done >= when_done and seen["actors"] >= actors:
                act()
                seen["acted_at"] = done
            seen["actors"] = max(seen["actors"], _actors())
            if "GPU" in ray.cluster_resources():
                seen["gpu_left"] = min(seen["gpu_left"], ray.available_resources().get("GPU", 0.0))
            for node in ray.nodes():
                if node["Alive"]:
                    seen["metrics"].update(_metrics(node))
        return {"result": job.result(), **seen}


def main(passages: Path, folder: Path) -> int:
    """A pool that grows, a machine that is lost, a GPU that comes."""
    machines = Machines()
    connect(RayConfig(address=machines.address))
    measured: dict[str, Any] = {}
    spot = machines.add(num_cpus=2)
    while ray.cluster_resources().get("CPU", 0) < 3:
        time.sleep(0.1)
    growing = EmbedConfig(min_actors=1, actors=3, cores_per_actor=1)
    measured["lost"] = watched(passages, folder / "lost", growing, 8, 2, lambda: machines.lose(spot))
    shared = EmbedConfig(actors=2, gpus_per_actor=0.5, start_timeout_s=120)
    measured["gpu"] = watched(passages, folder / "gpu", shared, 0, 0, lambda: machines.add(num_cpus=2, num_gpus=1))
    machines.end()
    sys.stdout.write(json.dumps(measured) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
