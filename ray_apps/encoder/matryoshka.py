"""Fine-tune the run's encoder so that its vectors can be cut short."""

import sys
from typing import Any

from data.artifacts import materialise
from data.encoders import check_model
from ray_apps.cluster import connect
from ray_apps.config import RunConfig
from ray_apps.encoder.forms import need_model
from ray_apps.ingest import ingest
from ray_apps.stages import artifact
from training.encoders.matryoshka_config import MatryoshkaConfig


def matryoshka(run: RunConfig) -> dict[str, Any]:
    """The model of a run, fine-tuned on its links or its questions; a run without the section takes its defaults.

    Returns:
        ``run``, ``encoder`` (what ``tune_encoder`` measured) and the ``artifact``, in which
        ``model/`` is what ``encoder.model`` takes.

    Raises:
        InputError: if the encoder is not a sentence-transformers model, or the corpus has too few pairs.
    """
    config = run.matryoshka or MatryoshkaConfig()
    run = run.model_copy(update={"matryoshka": config})
    made = artifact(run, "matryoshka")
    if not made.done:
        model = need_model(run.encoder, "cannot be fine-tuned")
        check_model(run.encoder)
        tables = ingest(run).path
        connect(run.ray)

        from training.encoders.matryoshka_driver import tune_encoder

        materialise(made, lambda out: tune_encoder(tables, model.model, config, out))
    return {"run": run.name, "encoder": made.result, "artifact": str(made.path)}


if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["encoder", "matryoshka", *sys.argv[1:]]))
