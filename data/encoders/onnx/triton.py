"""A model as a repository that NVIDIA's Triton Inference Server loads: ``NAME/config.pbtxt`` and ``NAME/1/model.onnx``.

The configuration is protobuf's text format. Field numbers and names are those of ``ModelConfig`` in Triton's
``model_config.proto``; only the fields written here are described, so that reading back anything else is an error.
"""

import functools
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.encoders.onnx.export import INPUTS, OUTPUT
from data.errors import InputError
from data.files import whole_or_absent

MAX_BATCH_SIZE = 64
QUEUE_DELAY_US = 2000  # how long a request waits for company: a tenth of what a long text takes to compute on a core
_INT32, _INT64, _UINT64, _STRING, _ENUM, _MESSAGE = "INT32", "INT64", "UINT64", "STRING", "ENUM", "MESSAGE"
# message -> field -> (number, type, type's name for enums and messages, repeated)
_MESSAGES: dict[str, dict[str, tuple[int, str, str, bool]]] = {
    "ModelInput": {
        "name": (1, _STRING, "", False),
        "data_type": (2, _ENUM, "DataType", False),
        "dims": (4, _INT64, "", True),
    },
    "ModelOutput": {
        "name": (1, _STRING, "", False),
        "data_type": (2, _ENUM, "DataType", False),
        "dims": (3, _INT64, "", True),
    },
    "ModelDynamicBatching": {
        "preferred_batch_size": (1, _INT32, "", True),
        "max_queue_delay_microseconds": (2, _UINT64, "", False),
    },
    "ModelConfig": {
        "name": (1, _STRING, "", False),
        "max_batch_size": (4, _INT32, "", False),
        "input": (5, _MESSAGE, "ModelInput", True),
        "output": (6, _MESSAGE, "ModelOutput", True),
        "dynamic_batching": (11, _MESSAGE, "ModelDynamicBatching", False),
        "backend": (17, _STRING, "", False),
    },
}
_DATA_TYPES = {"TYPE_INVALID": 0, "TYPE_INT64": 9, "TYPE_FP32": 11}


@dataclass(frozen=True)
class TritonModel:
    """What a client sees of a served model.

    Attributes:
        name: the model's, and its folder's.
        inputs: names of the inputs, int64 of shape (batch, tokens) each.
        output: name of the output, float32 of shape (batch, dim).
        dim: of a vector.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    dim: int


def write_repository(model: Path, name: str, dim: int, folder: Path) -> Path:
    """Write ``folder/NAME/1/model.onnx`` and ``folder/NAME/config.pbtxt``, the configuration last.

    Args:
        model: the ONNX file.
        name: of the model, and of its folder in the repository.
        dim: of its vectors.
        folder: the model repository; made where it is missing.

    Returns:
        The model's folder in it.

    Raises:
        InputError: if the folder cannot be written.
    """
    from google.protobuf import text_format

    config = _new_config()
    config.name, config.backend, config.max_batch_size = name, "onnxruntime", MAX_BATCH_SIZE
    for tensor in INPUTS:
        config.input.add(name=tensor, data_type=_DATA_TYPES["TYPE_INT64"], dims=[-1])
    config.output.add(name=OUTPUT, data_type=_DATA_TYPES["TYPE_FP32"], dims=[dim])
    config.dynamic_batching.max_queue_delay_microseconds = QUEUE_DELAY_US
    place = folder / name
    try:
        (place / "1").mkdir(parents=True, exist_ok=True)
        with whole_or_absent(place / "1" / "model.onnx") as unfinished:
            shutil.copyfile(model, unfinished)
        with whole_or_absent(place / "config.pbtxt") as unfinished:
            unfinished.write_text(text_format.MessageToString(config), encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"--triton {folder}: cannot be written: {error.strerror}", "Name a folder that can be made and filled."
        ) from error
    return place


def read_repository(place: Path) -> TritonModel:
    """Read a model's ``config.pbtxt`` strictly.

    Raises:
        InputError: if it is missing, not protobuf text, has other fields than those written here, or values
            that do not fit the encoder's model.
    """
    from google.protobuf import text_format

    path = place / "config.pbtxt"
    try:
        config = text_format.Parse(path.read_text(encoding="utf-8"), _new_config())
    except (OSError, text_format.ParseError) as error:
        raise InputError(f"{path}: {error}", "Export the model again.") from error
    types = [(tensor.data_type, list(tensor.dims)) for tensor in config.input]
    outputs = [tensor for tensor in config.output if tensor.data_type == _DATA_TYPES["TYPE_FP32"]]
    if any(found != (_DATA_TYPES["TYPE_INT64"], [-1]) for found in types) or len(outputs) != 1:
        raise InputError(f"{path}: not an encoder's inputs and output", "Export the model again.")
    return TritonModel(
        str(config.name), tuple(tensor.name for tensor in config.input), outputs[0].name, int(outputs[0].dims[0])
    )


def model_name(model: str, precision: str) -> str:
    """A name that Triton takes, from the run's name of a model."""
    return f"{Path(model).name.lower().replace('.', '-')}-{precision}"


def _new_config() -> Any:  # noqa: ANN401 - a message class that is made at run time
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(_pool().FindMessageTypeByName("inference.ModelConfig"))()


@functools.cache
def _pool() -> Any:  # noqa: ANN401 - google.protobuf has no types
    from google.protobuf import descriptor_pb2, descriptor_pool

    file = descriptor_pb2.FileDescriptorProto(name="model_config.proto", package="inference", syntax="proto3")
    enum = file.enum_type.add(name="DataType")
    for name, number in _DATA_TYPES.items():
        enum.value.add(name=name, number=number)
    for message, fields in _MESSAGES.items():
        _describe(file.message_type.add(name=message), fields)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def _describe(message: Any, fields: dict[str, tuple[int, str, str, bool]]) -> None:  # noqa: ANN401 - as above
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

    for name, (number, kind, type_name, repeated) in fields.items():
        message.field.add(
            name=name,
            number=number,
            type=getattr(Field, f"TYPE_{kind}"),
            type_name=f".inference.{type_name}" if type_name else None,
            label=Field.LABEL_REPEATED if repeated else Field.LABEL_OPTIONAL,
        )
