"""The encoder beside infinity's offline API, and the whole job beside Ray Data's plain ``map_batches``."""

import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.embed_texts import sample, write_passages
from benchmarks.rows import Row, median_seconds
from data.embed import embed
from data.embed_pool import EmbedConfig
from data.encoders import EncoderConfig, load_encoder
from data.encoders.models import find_model
from ray_apps.cluster import connect
from ray_apps.config import RayConfig

logger = logging.getLogger("catena")

DOCUMENTS = 192
JOB_DOCUMENTS = 512
CHARACTERS = 1000
ROUNDS = 2
# Of infinity's engines those that run on a CPU from a sentence-transformers folder; optimum wants an ONNX file in it.
ENGINES = ("torch", "torch+bettertransformer")
INFINITY = "0.0.77"
PINS = (
    f"infinity-emb[torch]=={INFINITY}",
    "transformers==4.49.0",
    "sentence-transformers==3.4.1",
    "numpy<2",
    "optimum<1.24",
)


def measure() -> list[Row]:
    """Every row; about five minutes on two cores, and as long again where infinity has to be installed."""
    corpus, texts = sample(DOCUMENTS)
    return [
        _beside_infinity([text[:CHARACTERS] for text in texts], corpus),
        _beside_map_batches(corpus),
    ]


def _beside_infinity(texts: Sequence[str], corpus: str) -> Row:
    """By turns with each engine of infinity that starts."""
    encoder = load_encoder(EncoderConfig())
    python = infinity_environment()
    pairs: dict[str, list[tuple[float, float]]] = {}
    encoder.encode(texts)
    for engine in ENGINES * ROUNDS:
        theirs = _infinity_seconds(python, engine, texts)
        ours = median_seconds(lambda: encoder.encode(texts), 1, 0)
        if theirs is not None:
            pairs.setdefault(engine, []).append((ours, theirs))
    if not pairs:
        raise RuntimeError(f"no engine of infinity {INFINITY} started; see the messages above")
    best = min(pairs, key=lambda engine: statistics.median(theirs for _, theirs in pairs[engine]))
    ours_s, theirs_s = (statistics.median(side) for side in zip(*pairs[best], strict=True))
    return Row(
        id="embed.infinity_ratio",
        what="documents per second of ours over those of infinity_emb's AsyncEmbeddingEngine, the fastest of its "
        f"engines on a CPU, {len(texts)} {corpus} cut to {CHARACTERS} characters",
        value=statistics.median(theirs / ours for ours, theirs in pairs[best]),
        unit="times",
        at_least=2.0,
        reach=3.0,
        peer=f"infinity_emb {INFINITY}, {best}: {len(texts) / theirs_s:.1f} documents/s; "
        f"ours, {encoder.precision}: {len(texts) / ours_s:.1f}; engines that ran: {', '.join(sorted(pairs))}",
    )


def _infinity_seconds(python: Path, engine: str, texts: Sequence[str]) -> float | None:
    """Seconds for the texts; None, with the reason told, where the engine does not start."""
    script = Path(__file__).with_name("infinity_loop.py")
    command = [str(python), str(script), find_model(EncoderConfig().model), engine, "1"]
    environment = {**os.environ, "INFINITY_ANONYMOUS_USAGE_STATS": "0", "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, env=environment)
    if run.returncode:
        logger.warning("bench embed: infinity's engine %s: %s", engine, run.stderr.strip().splitlines()[-1])
        return None
    return float(statistics.median(json.loads(run.stdout.splitlines()[-1])["seconds"]))


def infinity_environment() -> Path:
    """The interpreter of an environment with infinity in it, made once: it needs other versions than ours."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = cache / "catena" / f"infinity-{INFINITY}"
    python = folder / "bin" / "python"
    if not (folder / "_SUCCESS").exists():
        logger.info("bench embed: installing infinity_emb %s into %s", INFINITY, folder)
        import torch

        venv.create(folder, clear=True, with_pip=True)
        version = torch.__version__.partition("+")[0]  # the same torch, so that no other kernels are compared
        subprocess.run([python, "-m", "pip", "install", "--quiet", f"torch=={version}", *PINS], check=True)
        (folder / "_SUCCESS").touch()
    return python


class Encode:
    """What the documentation of Ray Data shows: a model a worker, its ``encode`` on each batch."""

    def __init__(self, model: str) -> None:
        from sentence_transformers import SentenceTransformer

        self._model = SentenceTransformer(model)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Vectors of a batch, and when they were begun and done."""
        started = time.time()
        vectors = self._model.encode(list(batch["text"]))
        size = len(vectors)
        return {"vector": vectors, "started": [started] * size, "finished": [time.time()] * size}


def _beside_map_batches(corpus: str) -> Row:
    """Both without the start of their workers: from the first batch begun to the last one done."""
    import ray

    _, texts = sample(JOB_DOCUMENTS)
    texts = [text[:CHARACTERS] for text in texts]
    connect(RayConfig())
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        passages = write_passages(iter(texts), len(texts), Path(folder) / "passages")
        for number in range(ROUNDS):
            result = embed(passages, EncoderConfig(), EmbedConfig(), Path(folder) / f"round-{number}")
            rows = (
                ray.data.from_items([{"text": text} for text in texts])
                .map_batches(
                    Encode,
                    fn_constructor_args=(find_model(EncoderConfig().model),),
                    batch_size=64,
                    compute=ray.data.ActorPoolStrategy(size=int(ray.cluster_resources()["CPU"])),
                    num_cpus=1,
                )
                .take_all()
            )
            seconds = max(row["finished"] for row in rows) - min(row["started"] for row in rows)
            pairs.append((result["passages_per_s"], len(texts) / seconds))
    ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    return Row(
        id="embed.map_batches_ratio",
        what=f"passages per second of catena's job over those of map_batches around encode, {len(texts)} {corpus} cut "
        f"to {CHARACTERS} characters, start of workers apart",
        value=statistics.median(own / plain for own, plain in pairs),
        unit="times",
        at_least=2.0,
        peer=f"map_batches, a model a core: {theirs:.1f} passages/s; ours: {ours:.1f}",
    )


if __name__ == "__main__":
    for row in measure():
        sys.stdout.write(row.model_dump_json() + "\n")
