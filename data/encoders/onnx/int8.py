"""An exported model in int8, calibrated on passages of the corpus.

Only products with a weight matrix are quantised: weights to 7 bits, symmetric, one scale for each output channel (7,
because processors without VNNI saturate when two 8-bit products are added in 16 bits), inputs to 8 bits with one scale
that calibration finds. Embeddings, layer normalisation, attention's own products and softmax stay in fp32, and so does
what a product gives.

Transformers have few input channels that are ten times as large as the others; one scale for all would leave little of
the rest. So part of each channel's size is moved from the input into the weights, which have scales of their own
(SmoothQuant, Xiao et al., ICML 2023): X W = (X / s) (s W), s_k = max|X_k|^a / max|W_k|^(1 - a). How much, the exponent
a, is chosen for each input by the error of the product on the calibration passages; products whose error stays above
``LARGEST_ERROR`` stay in fp32.
"""

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.encoders.onnx.encoder import open_session
from data.encoders.onnx.export import INPUTS, MODEL, Export, read_export, require, write_export
from data.errors import InputError

logger = logging.getLogger("catena")

EXPONENTS = (0.0, 0.35, 0.5, 0.65, 0.8)  # 0.0: nothing is moved, and no multiplication is put in
LARGEST_ERROR = 0.06  # relative to the product's size, root of the mean square
SAMPLE_ROWS = 1024  # token positions of each input that the error is measured on
Floats = npt.NDArray[np.float32]


@dataclass
class _Input:
    """An input that one or several weight matrices are multiplied with: and its range on the calibration passages."""

    weights: dict[str, Floats]  # name -> (K, N)
    largest_K: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    lowest_K: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    highest_K: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    rows: list[Floats] = field(default_factory=list)

    def see(self, values_RK: Floats, rng: np.random.Generator) -> None:
        lowest, highest = values_RK.min(axis=0), values_RK.max(axis=0)
        self.lowest_K = np.minimum(self.lowest_K, lowest) if len(self.lowest_K) else lowest
        self.highest_K = np.maximum(self.highest_K, highest) if len(self.highest_K) else highest
        self.largest_K = np.maximum(-self.lowest_K, self.highest_K)
        self.rows.append(values_RK[rng.permutation(len(values_RK))[: SAMPLE_ROWS // 8]])

    def scales(self, exponent: float) -> Floats:
        """s_k of each channel; ones where the exponent is 0."""
        if not exponent:
            return np.ones_like(self.largest_K)
        weight_K = np.max([np.abs(weight).max(axis=1) for weight in self.weights.values()], axis=0)
        moved = np.maximum(self.largest_K, 1e-5) ** exponent / np.maximum(weight_K, 1e-5) ** (1 - exponent)
        scales_K: Floats = np.maximum(moved, 1e-5).astype(np.float32)
        return scales_K

    def error(self, scales_K: Floats) -> float:
        """Largest relative error of the products once input and weights are quantised."""
        rows_RK = np.concatenate(self.rows)[-SAMPLE_ROWS:]
        low, high = (self.lowest_K / scales_K).min(), (self.highest_K / scales_K).max()
        short_RK = _rounded(rows_RK / scales_K, float(min(low, 0)), float(max(high, 0)))
        errors = []
        for weight_KN in self.weights.values():
            exact = rows_RK @ weight_KN
            short = short_RK @ _rounded_weights(weight_KN * scales_K[:, None])
            errors.append(float(np.sqrt(np.square(short - exact).mean() / np.square(exact).mean())))
        return max(errors)


def quantise(
    exported: Path, feeds: Sequence[Mapping[str, npt.NDArray[np.int64]]], passages: int, folder: Path
) -> Export:
    """Calibrate an exported model and write it in int8.

    Args:
        exported: folder of the model in fp32.
        feeds: batches of token numbers and attention masks, int64 (texts, longest) each.
        passages: how many texts the batches hold.
        folder: gets ``model.onnx`` and, last, ``export.json``.

    Raises:
        InputError: if ONNX is not installed, the exported model is damaged, or no product of it bears int8.
    """
    require("onnx", "onnxruntime")
    import onnx

    original = read_export(exported)
    graph = onnx.load(exported / MODEL)
    inputs = _weighted_inputs(graph)
    _calibrate(graph, inputs, feeds)
    ranges: dict[str, tuple[Floats, Floats]] = {}
    quantised: list[str] = []
    left: list[str] = []
    for name, found in inputs.items():
        error, exponent = min((found.error(found.scales(exponent)), exponent) for exponent in EXPONENTS)
        products = [n.name for n in _products(graph) if n.input[0] == name and n.input[1] in found.weights]
        logger.debug("int8: %s: error %.4f with exponent %s", name, error, exponent)
        if not error <= LARGEST_ERROR:  # NaN where an input is zero throughout
            left += products
            continue
        quantised += products
        read, low, high = _move(graph, name, found, exponent)
        ranges[read] = (np.float32(low), np.float32(high))  # type: ignore[assignment]
    if not quantised:
        raise InputError(
            f"encoder.precision: int8: every matrix product errs by more than {LARGEST_ERROR:.0%} in int8",
            "Use precision: auto or fp32.",
        )
    described = original.model_copy(
        update={
            "precision": "int8",
            "calibration_passages": passages,
            "quantised": len(quantised),
            "left_in_fp32": tuple(left),
        }
    )
    return write_export(folder, described, lambda path: _write_int8(graph, ranges, quantised, path))


def _products(graph: Any) -> list[Any]:  # noqa: ANN401 - an onnx.ModelProto, as below
    return [node for node in graph.graph.node if node.op_type == "MatMul"]


def _weighted_inputs(graph: Any) -> dict[str, _Input]:  # noqa: ANN401
    """Inputs of the products with a weight matrix, in the graph's order."""
    from onnx import numpy_helper

    weights = {tensor.name: tensor for tensor in graph.graph.initializer if len(tensor.dims) == 2}
    inputs: dict[str, _Input] = {}
    for node in _products(graph):
        if node.input[1] in weights:
            found = inputs.setdefault(node.input[0], _Input({}))
            found.weights[node.input[1]] = numpy_helper.to_array(weights[node.input[1]])
    return inputs


def _calibrate(
    graph: Any,  # noqa: ANN401
    inputs: Mapping[str, _Input],
    feeds: Sequence[Mapping[str, npt.NDArray[np.int64]]],
) -> None:
    """Run the passages through and look at each input, padding left out."""
    import onnx

    watched = onnx.ModelProto()
    watched.CopyFrom(graph)
    watched.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in inputs)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(watched, Path(folder) / MODEL)
        session = open_session(Path(folder) / MODEL, "cpu")
    for feed in feeds:
        read = feed[INPUTS[1]].reshape(-1) > 0
        for name, values in zip(inputs, session.run(list(inputs), dict(feed)), strict=True):
            rows = values.reshape(-1, values.shape[-1])
            # an input after pooling has a row a text, not a row a token
            inputs[name].see(rows[read] if len(rows) == len(read) else rows, rng)


def _move(graph: Any, name: str, found: _Input, exponent: float) -> tuple[str, float, float]:  # noqa: ANN401
    """Divide an input by its scales and multiply the weights; the input's new name, lowest and highest value."""
    from onnx import helper, numpy_helper

    if not exponent:
        return name, float(found.lowest_K.min()), float(found.highest_K.max())
    scales_K = found.scales(exponent)
    moved = f"{name}_smooth"
    products = [node for node in _products(graph) if node.input[0] == name and node.input[1] in found.weights]
    first = list(graph.graph.node).index(products[0])
    for node in products:
        node.input[0] = moved
    for tensor in graph.graph.initializer:
        if tensor.name in found.weights:
            weight = (found.weights[tensor.name] * scales_K[:, None]).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))
    graph.graph.initializer.append(numpy_helper.from_array(1 / scales_K, f"{moved}_by"))
    graph.graph.node.insert(first, helper.make_node("Mul", [name, f"{moved}_by"], [moved], name=f"{moved}_mul"))
    return moved, float((found.lowest_K / scales_K).min()), float((found.highest_K / scales_K).max())


def _write_int8(graph: Any, ranges: Mapping[str, Any], products: Sequence[str], path: Path) -> None:  # noqa: ANN401
    """Hand the graph and the ranges to ONNX Runtime's quantiser; it reads ranges from a file in its own format."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import TensorsData, save_tensors_data

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it advises a fusion beforehand that would hide products from it
    try:
        with tempfile.TemporaryDirectory() as folder:
            cache = Path(folder) / "ranges.json"
            save_tensors_data(TensorsData(CalibrationMethod.MinMax, dict(ranges)), cache)
            quantize_static(
                graph,
                path,
                None,
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["MatMul"],
                nodes_to_quantize=list(products),
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                calibration_cache_path=cache,
                extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul"]},
            )
    finally:
        logging.disable(before)


def _rounded(values: Floats, low: float, high: float) -> Floats:
    """Values as 8 bits between ``low`` and ``high`` hold them."""
    step = max(high - low, 1e-12) / 255
    rounded: Floats = (np.round((values - low) / step).clip(0, 255) * step + low).astype(np.float32)
    return rounded


def _rounded_weights(weight_KN: Floats) -> Floats:
    """Weights as 7 bits with a scale for each output channel hold them."""
    step_N = np.maximum(np.abs(weight_KN).max(axis=0), 1e-12) / 63
    rounded: Floats = (np.round(weight_KN / step_N) * step_N).astype(np.float32)
    return rounded
