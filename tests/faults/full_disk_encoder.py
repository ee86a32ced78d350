"""The stub encoder on a disk that becomes full: a text that is the path of an existing file makes it so."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.embed.stub_encoder import StubEncoder
from data.encoders.config import PluginConfig
from data.partitions import partition_name


class FullDiskEncoder(StubEncoder):
    """Lets the partition of vectors that is written next, number 2 of the run beside the file, meet a full disk."""

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """As of the stub."""
        for path in (Path(text) for text in texts if text.startswith("/")):
            for vectors in path.parent.glob("workspace/embed/*/vectors") if path.exists() else ():
                (vectors / f".{partition_name(2)}.{os.getpid()}.unfinished").symlink_to("/dev/full")
        return super().encode(texts)


def load(config: PluginConfig) -> FullDiskEncoder:
    """The function that a run file names."""
    return FullDiskEncoder()
