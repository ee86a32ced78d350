"""The encoder beside infinity's offline API, which gets an environment of its own."""

import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.embed.infinity_model import lay_out
from benchmarks.embed.texts import sample
from benchmarks.environments import environment
from benchmarks.rows import Row, median_seconds
from data.encoders import load_encoder
from data.encoders.config import TransformerConfig
from data.encoders.protocol import Vectors
from data.encoders.transformer.models import find_model
from data.errors import InputError

logger = logging.getLogger("catena")

DOCUMENTS = 192
CHARACTERS = 1000
ROUNDS = 2
SMALLEST_COSINE = 0.99  # below it an engine computes something else, and its speed means nothing
ENGINES = ("torch", "torch+bettertransformer", "optimum")  # of infinity's those that run a sentence-transformers model
INFINITY = "0.0.77"
PINS = (
    f"infinity-emb[torch,optimum,server]=={INFINITY}",
    "optimum[onnxruntime]==1.24.0",
    "transformers==4.48.3",  # BetterTransformer refuses later ones
    "sentence-transformers==3.4.1",
    "numpy<2",  # infinity asks for it, and these are the last that go with it
    "pyarrow<21",
    "datasets<4",
    "pandas<3",
    "click<8.2",  # its typer fails with later ones
)
Pairs = Mapping[str, Sequence[tuple[float, float]]]


def measure() -> list[Row]:
    """About four minutes on two cores, and as long again where infinity has to be installed.

    Raises:
        RuntimeError: if no engine starts.
        subprocess.CalledProcessError: if infinity cannot be installed.
    """
    corpus, texts = sample(DOCUMENTS)
    texts = [text[:CHARACTERS] for text in texts]
    encoder = load_encoder(TransformerConfig())
    python = infinity_environment()
    pairs: dict[str, list[tuple[float, float]]] = {}
    failed: dict[str, str] = {}
    vectors = encoder.encode(texts)
    with tempfile.TemporaryDirectory() as folder:
        models = dict.fromkeys(ENGINES, find_model(TransformerConfig().model))
        try:
            models["optimum"] = str(lay_out(TransformerConfig().model, Path(folder) / "model"))
        except (InputError, RuntimeError) as error:
            failed["optimum"] = f"no graph to run: {error}"
        for engine in ENGINES * ROUNDS:
            if engine in failed:
                continue
            try:
                theirs = seconds_of(python, engine, models[engine], texts, vectors)
            except RuntimeError as error:
                logger.warning("bench embed: infinity's engine %s: %s", engine, error)
                failed[engine] = str(error)
                continue
            ours = median_seconds(lambda: encoder.encode(texts), 1, 0)
            pairs.setdefault(engine, []).append((ours, theirs))
    return [row_of(pairs, failed, f"{len(texts)} {corpus} cut to {CHARACTERS} characters", len(texts))]


def row_of(pairs: Pairs, failed: Mapping[str, str], what: str, texts: int) -> Row:
    """The table's row: against the fastest engine, with the figures of all.

    Args:
        pairs: of each engine that ran, seconds of ours and of theirs by turns.
        failed: of each that did not, the reason.
        what: the texts, in words.
        texts: how many.

    Raises:
        RuntimeError: if none ran.
    """
    if not pairs:
        raise RuntimeError(f"no engine of infinity {INFINITY} started: {dict(failed)}")
    theirs = {engine: statistics.median(their for _, their in both) for engine, both in pairs.items()}
    best = min(theirs, key=lambda engine: theirs[engine])
    ours = statistics.median(own for own, _ in pairs[best])
    figures = ", ".join(f"{engine} {texts / seconds:.1f}" for engine, seconds in theirs.items())
    refused = "".join(f"; {engine} did not run: {reason}" for engine, reason in failed.items())
    return Row(
        id="embed.infinity_ratio",
        what="documents per second of ours over those of infinity_emb's AsyncEmbeddingEngine, the fastest of its "
        f"engines on a CPU, {what}",
        value=statistics.median(their / own for own, their in pairs[best]),
        unit="times",
        at_least=2.0,
        reach=3.0,
        peer=f"infinity_emb {INFINITY}, {best}; documents/s: {figures}; ours {texts / ours:.1f}{refused}",
    )


def seconds_of(python: Path, engine: str, model: str, texts: Sequence[str], vectors: Vectors) -> float:
    """Seconds that an engine takes for the texts, its start apart.

    Args:
        python: the interpreter of infinity's environment.
        engine: its name, as ``infinity_loop`` takes it.
        model: a folder.
        texts: what is encoded.
        vectors: ours of the texts, float32 of shape (n, dim), unit length.

    Raises:
        RuntimeError: if the engine does not start, or gives other vectors.
    """
    script = Path(__file__).with_name("infinity_loop.py")
    environment = {**os.environ, "INFINITY_ANONYMOUS_USAGE_STATS": "0", "HF_HUB_OFFLINE": "1"}
    command = [str(python), str(script), model, engine, "1"]
    run = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, env=environment)
    if run.returncode:
        raise RuntimeError((run.stderr.strip().splitlines() or [f"exit code {run.returncode}"])[-1])
    result = json.loads(run.stdout.splitlines()[-1])
    cosine = float(np.dot(result["vector"], vectors[0]))
    if not cosine >= SMALLEST_COSINE:
        raise RuntimeError(f"it gives other vectors: cosine {cosine:.4f} for the first text")
    return float(statistics.median(result["seconds"]))


def infinity_environment() -> Path:
    """The interpreter of an environment with infinity in it, made once: it needs other versions than ours."""
    import torch

    version = torch.__version__.partition("+")[0]  # the same torch, so that no other kernels are compared
    return environment(f"infinity-{INFINITY}", (f"torch=={version}", *PINS))


if __name__ == "__main__":
    for row in measure():
        sys.stdout.write(row.model_dump_json() + "\n")
