"""A process that writes documents until it is killed: ``python -m tests.unit.serving.live_writer FOLDER``.

Prints the id of each as its caller and its number, when it is acknowledged. It loads no model, so it starts at once.
"""

import asyncio
import sys
from pathlib import Path

import numpy as np

from retrieval.open import read_meta
from serving.artifacts import LiveConfig
from serving.index import IndexActor
from serving.live import form_of
from serving.live_rows import PreparedDocument, PutDocument

DIM = 64
FORM = "form"


def prepared(id_: str, text: str = "text", form: str = FORM) -> PutDocument:
    """A document that is found by a vector of equal components."""
    source = {"id": id_, "title": "", "text": text, "metadata": {}, "time": None}
    vectors = np.full((1, DIM), DIM**-0.5, np.float32)
    made = PreparedDocument(id_, source, "", text, {}, [((0, len(text)), None)], "", vectors)
    return PutDocument(id_, source, {form: made})


async def main(folder: Path) -> None:
    """Eight callers, each of which puts a new document and deletes one of seven others, again and again."""
    live = LiveConfig(folder=folder / "live", limit=10**6)
    index = IndexActor(folder / "run" / "out", live, folder)
    form = form_of(live, read_meta(folder / "run" / "out"))

    async def write(caller: int) -> None:
        for n in range(10**6):
            await index.change([prepared(f"{caller}/{n}", form=form), f"d/{n % 7}"])
            sys.stdout.write(f"{caller} {n}\n")
            sys.stdout.flush()

    await asyncio.gather(*(write(caller) for caller in range(8)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
