"""One embedding job with the stub encoder in a process of its own, for its peak memory.

``python -m benchmarks.embed.driver PASSAGES OUT`` prints one JSON object: passages, and the driver's peak resident
memory in MiB.
"""

import json
import re
import sys
from pathlib import Path

from data.embedding.config import EmbedConfig
from data.embedding.embed import embed
from data.encoders.config import PluginConfig
from ray_apps.cluster import connect
from ray_apps.config import RayConfig


def main(passages: Path, out: Path) -> int:
    """Run the job and return what it took."""
    connect(RayConfig(num_cpus=2, object_store_mb=128))
    result = embed(passages, PluginConfig(model="benchmarks.embed.stub_encoder:load"), EmbedConfig(), out)
    sys.stdout.write(json.dumps({"passages": result["passages"], "peak_mib": peak_mib()}) + "\n")
    return 0


def peak_mib() -> float:
    """Largest resident memory of this process, on Linux.

    Not ``ru_maxrss``: that begins with the memory of the process that started this one.
    """
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
