"""infinity_emb's offline API in an environment of its own: texts in as JSON, documents per second out as JSON.

``python infinity_loop.py MODEL ENGINE ROUNDS < texts.json``; imports nothing of ours, which that environment lacks.
"""

import asyncio
import json
import sys
import time
from typing import Any


async def main(model: str, engine: str, rounds: int, texts: list[str]) -> dict[str, Any]:
    """Seconds of each round after one that does not count, and the first text's vector."""
    from infinity_emb import AsyncEmbeddingEngine, EngineArgs  # type: ignore[import-not-found]

    name, _, option = engine.partition("+")
    arguments = EngineArgs(
        model_name_or_path=model,
        engine=name,
        device="cpu",
        bettertransformer=option == "bettertransformer",
        compile=False,
        model_warmup=False,
        pooling_method="mean",  # the engine optimum does not read the model's own
    )
    seconds = []
    running = AsyncEmbeddingEngine.from_args(arguments)
    async with running:
        for _ in range(rounds + 1):
            started = time.perf_counter()
            vectors, _ = await running.embed(sentences=texts)
            seconds.append(time.perf_counter() - started)
    return {"seconds": seconds[1:], "vector": [float(number) for number in vectors[0]]}


if __name__ == "__main__":
    made = asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), json.load(sys.stdin)))
    sys.stdout.write("\n" + json.dumps(made) + "\n")
