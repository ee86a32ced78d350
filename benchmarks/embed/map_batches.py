"""The whole job beside Ray Data's plain ``map_batches`` around ``encode``."""

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.embed.texts import sample, write_passages
from benchmarks.rows import Row
from data.embedding.config import EmbedConfig
from data.embedding.embed import embed
from data.encoders.config import TransformerConfig
from data.encoders.transformer.models import find_model
from ray_apps.cluster import connect
from ray_apps.config import RayConfig

DOCUMENTS = 512
CHARACTERS = 1000
ROUNDS = 2


class Encode:
    """What the documentation of Ray Data shows: a model a worker, its ``encode`` on each batch."""

    def __init__(self, model: str) -> None:
        from sentence_transformers import SentenceTransformer

        self._model = SentenceTransformer(model)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Vectors of a batch, and when they were started and done."""
        started = time.time()
        vectors = self._model.encode(list(batch["text"]))
        size = len(vectors)
        return {"vector": vectors, "started": [started] * size, "finished": [time.time()] * size}


def measure() -> list[Row]:
    """Both without the start of their workers: from the start of the first batch to the end of the last."""
    import ray

    corpus, texts = sample(DOCUMENTS)
    texts = [text[:CHARACTERS] for text in texts]
    connect(RayConfig())
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        passages = write_passages(iter(texts), len(texts), Path(folder) / "passages")
        for number in range(ROUNDS):
            result = embed(passages, TransformerConfig(), EmbedConfig(), Path(folder) / f"round-{number}")
            rows = (
                ray.data.from_items([{"text": text} for text in texts])
                .map_batches(
                    Encode,
                    fn_constructor_args=(find_model(TransformerConfig().model),),
                    batch_size=64,
                    compute=ray.data.ActorPoolStrategy(size=int(ray.cluster_resources()["CPU"])),
                    num_cpus=1,
                )
                .take_all()
            )
            seconds = max(row["finished"] for row in rows) - min(row["started"] for row in rows)
            pairs.append((result["passages_per_s"], len(texts) / seconds))
    ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    return [
        Row(
            id="embed.map_batches_ratio",
            what=f"passages per second of catena's job over those of map_batches around encode, {len(texts)} {corpus} "
            f"cut to {CHARACTERS} characters, start of workers apart",
            value=statistics.median(own / plain for own, plain in pairs),
            unit="times",
            at_least=2.0,
            peer=f"map_batches, a model a core: {theirs:.1f} passages/s; ours: {ours:.1f}",
        )
    ]


if __name__ == "__main__":
    for row in measure():
        sys.stdout.write(row.model_dump_json() + "\n")
