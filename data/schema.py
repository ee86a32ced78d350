"""The tables of Catena as Arrow schemas. On disk: folders of Parquet partitions named ``part-00000.parquet``."""

import hashlib

import pyarrow as pa

SPLITS = ("train", "valid", "test")
"""What a link is for; by their places where a split is a number."""

PARTS = (*SPLITS, "brought", "unused")
"""The same, with links that held-out documents bring when they are judged, and links that are for nothing."""

OUTCOMES = {"success": 1.0, "partial": 0.5, "failure": 0.0}
"""What became of a trace or of one of its steps, and the reward of it."""

FEATURES_FILE = "features.npy"
"""Beside the tables, where a source has features of its documents: float32 (n, dim), rows of unit length or zero."""

DOCUMENTS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("metadata", pa.string()),  # one JSON object, see data/metadata.py; null where there is none
        pa.field("time", pa.timestamp("us", tz="UTC")),
    ]
)
PASSAGES = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("end", pa.int64(), nullable=False),
        pa.field("parent_id", pa.string()),
        pa.field("text", pa.string(), nullable=False),
    ]
)
LINKS = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("target", pa.string(), nullable=False),
        pa.field("relation", pa.string(), nullable=False),
        pa.field("weight", pa.float32(), nullable=False),
        pa.field("time", pa.timestamp("us", tz="UTC")),
        pa.field("split", pa.string()),  # train, valid or test, where the corpus itself says so
    ]
)
QUERIES = pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("text", pa.string(), nullable=False)])
QRELS = pa.schema(
    [
        pa.field("query_id", pa.string(), nullable=False),
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("score", pa.int32(), nullable=False),
    ]
)
TOOLS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("description", pa.string(), nullable=False),
        pa.field("schema", pa.string()),  # of its input, JSON; null where none is given
    ]
)
CAPABILITIES = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("description", pa.string(), nullable=False),
        pa.field("tools", pa.list_(pa.string()), nullable=False),
        pa.field("parent", pa.string()),  # the group of capabilities that it is one of
        pa.field("metadata", pa.string()),
    ]
)
TRACES = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("time", pa.timestamp("us", tz="UTC")),
        pa.field("session", pa.string()),
        pa.field("intent", pa.string(), nullable=False),
        pa.field("context", pa.list_(pa.string()), nullable=False),  # tools that were at hand or had just run
        pa.field("shown", pa.list_(pa.string()), nullable=False),  # capabilities, best first
        pa.field("scores", pa.list_(pa.float32())),  # of what was shown
        # probability of each to be the one that is run, or that is put first to be run
        pa.field("propensities", pa.list_(pa.float64())),
        pa.field("chosen", pa.string(), nullable=False),
        pa.field("steps", pa.list_(pa.struct([("tool", pa.string()), ("outcome", pa.string())])), nullable=False),
        pa.field("outcome", pa.string()),  # of the whole: success, partial or failure
        pa.field("seconds", pa.float32()),  # that it ran
        pa.field("rating", pa.float32()),  # from 0 to 1
        pa.field("model_version", pa.string()),
        pa.field("passed_over", pa.bool_()),  # the first shown, which propensities had drawn, for the one that was run
    ]
)
REJECTS = pa.schema(
    [
        pa.field("table", pa.string(), nullable=False),  # the table the row was meant for
        pa.field("source", pa.string(), nullable=False),  # the file that the row is in
        pa.field("place", pa.string(), nullable=False),  # where in the file: "line 12", "row 3"
        pa.field("reason", pa.string(), nullable=False),
        pa.field("content", pa.string(), nullable=False),  # the row itself, cut to 500 characters
    ]
)


def passage_id(document_id: str, start: int, end: int) -> str:
    """Identity of a passage: 32 hex digits of BLAKE2b over its document's id and its span."""
    return hashlib.blake2b(f"{document_id}\x00{start}\x00{end}".encode(), digest_size=16).hexdigest()
