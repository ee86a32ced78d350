"""A sentence-transformers model that ONNX Runtime computes, on the batches of texts that torch computes too."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from data.encoders.config import OnnxConfig
from data.encoders.onnx.export import INPUTS, MODEL, OUTPUT, Export, read_export, require
from data.encoders.transformer.batches import BatchedEncoder, BatchModel, TextBatches
from data.encoders.transformer.encoder import SentenceEncoder, TorchModel
from data.encoders.transformer.precision import SMALLEST_COSINE, TEXTS
from data.errors import InputError

if TYPE_CHECKING:
    import torch


class OnnxModel:
    """An exported graph in a session of ONNX Runtime.

    On a CPU a run keeps to the thread that calls it, so batches go side by side as torch's do. On a GPU the input is
    read, and the output written, where torch holds them.

    Args:
        session: an onnxruntime.InferenceSession.
        precision: of the graph, ``fp32`` or ``int8``.
        in_torch: the model that was exported, which computes what does not fit on a GPU; None on a CPU.
        dim: dimensions of a vector.
        device: where the session computes.
    """

    def __init__(
        self,
        session: Any,  # noqa: ANN401 - onnxruntime has no types
        precision: str,
        in_torch: TorchModel | None,
        dim: int,
        device: "torch.device",
    ) -> None:
        self._session, self._in_torch = session, in_torch
        self.precision, self.dim, self.device = precision, dim, device

    def unit(self, features: "dict[str, Any]") -> "torch.Tensor":
        """Vectors of unit length, float32 of shape (n, dim), where the features are."""
        import torch

        if features[INPUTS[0]].device.type != "cpu":
            return self._unit_on_gpu(features)
        (vectors,) = self._session.run([OUTPUT], {name: features[name].numpy() for name in INPUTS})
        return torch.from_numpy(vectors)

    def on_cpu(self) -> BatchModel:
        """The model in torch: the session computes on the GPU alone."""
        return self if self._in_torch is None else self._in_torch.on_cpu()

    def _unit_on_gpu(self, features: "dict[str, Any]") -> "torch.Tensor":
        """One run whose input and output stay on the GPU."""
        import torch

        held = {name: features[name].contiguous() for name in INPUTS}
        device = held[INPUTS[0]].device
        vectors = torch.empty((len(held[INPUTS[0]]), self.dim), dtype=torch.float32, device=device)
        binding, index = self._session.io_binding(), device.index or 0
        for name, tensor in held.items():
            binding.bind_input(name, "cuda", index, np.int64, tuple(tensor.shape), tensor.data_ptr())
        binding.bind_output(OUTPUT, "cuda", index, np.float32, tuple(vectors.shape), vectors.data_ptr())
        torch.cuda.current_stream(device).synchronize()  # ONNX Runtime computes on another stream
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return vectors


class OnnxEncoder(BatchedEncoder):
    """Batches of texts, tokenised as the model's are, and an exported graph that computes them.

    Args:
        batches: with an ``OnnxModel``.
        fingerprint: of the exported model.
        cosine_to_fp32: smallest cosine of its vectors to the model's own.
    """

    def __init__(self, batches: TextBatches, fingerprint: str, cosine_to_fp32: float) -> None:
        super().__init__(batches)
        self.fingerprint, self.cosine_to_fp32 = fingerprint, cosine_to_fp32

    @classmethod
    def load(cls, config: OnnxConfig, batch_tokens: int, threads: int | None) -> Self:
        """Open the model for its tokenizer, and its exported graph for the rest.

        Raises:
            InputError: if there is no such model, no exported graph of it, ONNX Runtime is not installed or lacks the
                device, or the graph's vectors in fp32 are not the model's.
        """
        require("onnxruntime")
        if config.exported is None:
            raise InputError(
                "encoder.exported: backend onnx runs an exported model, and none is named",
                "Start it through a run, which exports the model, or name a folder that a run has made.",
            )
        described = read_export(config.exported)
        reference = SentenceEncoder.load(config.in_fp32(), batch_tokens, threads)
        if not reference.model.pools_prompts:
            raise InputError(
                f"encoder.backend: onnx: pooling of {config.model} leaves the prompt out, which its graph cannot",
                "Use backend: torch.",
            )
        wanted = "fp32" if config.precision == "auto" else config.precision
        if (described.model, described.precision) != (reference.fingerprint, wanted):
            raise InputError(
                f"encoder.exported: {config.exported} holds model {described.model} in {described.precision}; "
                f"{config.model} is {reference.fingerprint}, in {wanted}",
                "Leave encoder.exported out: the run exports the model that it names.",
            )
        session = open_session(config.exported / MODEL, reference.device.type)
        on_cpu = reference.device.type == "cpu"
        in_torch = None if on_cpu else reference.model  # on a CPU only the session holds the weights
        batches = reference.batches.with_model(OnnxModel(session, wanted, in_torch, reference.dim, reference.device))
        cosine = float((reference.encode_here(TEXTS) * batches.here(TEXTS)).sum(axis=1).min())
        if wanted == "fp32" and not cosine >= SMALLEST_COSINE:
            raise InputError(
                f"encoder.backend: onnx: vectors are not the model's: smallest cosine {cosine:.5f}, "
                f"needed {SMALLEST_COSINE}",
                "Use backend: torch.",
            )
        return cls(batches, fingerprint_of(described), cosine)


def open_session(path: Path, device: str) -> Any:  # noqa: ANN401 - onnxruntime has no types
    """An ONNX Runtime session that computes on the calling thread of a CPU, or on a GPU.

    Args:
        path: the model.
        device: ``cpu`` or ``cuda``.

    Raises:
        InputError: if the file is no model that ONNX Runtime runs, or this ONNX Runtime has not that device.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}.get(device)
    if provider not in onnxruntime.get_available_providers():
        raise InputError(
            f"encoder.device: this ONNX Runtime does not compute on {device}",
            "Use device: cpu, or install onnxruntime-gpu in place of onnxruntime.",
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # A plan of memory is kept for each shape of input ever seen, and every batch has its own.
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=[provider])
    except (
        errors.Fail,
        errors.InvalidProtobuf,
        errors.InvalidGraph,
        errors.InvalidArgument,
        errors.NoSuchFile,
        errors.NotImplemented,
        errors.RuntimeException,
    ) as error:
        raise InputError(
            f"{path}: ONNX Runtime cannot open it: {str(error).strip().splitlines()[0]}",
            "Remove the folder: the run exports the model again.",
        ) from error


def fingerprint_of(described: Export) -> str:
    """Fingerprint of an exported model: that of the model in fp32; in int8 one over weights and calibration."""
    if described.precision == "fp32":
        return described.model
    return hashlib.blake2b(f"{described.model} {described.sha256}".encode(), digest_size=8).hexdigest()
