"""Answers to ``tools/list`` of the Model Context Protocol, as tools.

A file has one answer, a list of answers (the pages of a long one), or one answer a line. An answer is the JSON-RPC
message or its ``result`` alone (specification 2025-06-18, server features, tools).
"""

import json
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Any

from pydantic import Field

from data.errors import InputError
from data.sources.fields import id_of, row_or_reject, text_of
from data.sources.files import PATH, TableFiles
from data.sources.lines import Broken, Record
from data.sources.lists import schema_of
from data.sources.paths import find
from data.sources.records import json_lines
from data.sources.remote import SourceFile
from data.sources.rows import Reading, ReadTask, Reject, Tool


class McpFiles(TableFiles):
    """Files of answers to ``tools/list``."""

    path: str = Field(description=PATH)
    server: str = Field("", description="put before the name of each tool, with a dot, where several servers have it")

    def needed(self, found: Collection[str] = ()) -> list[str]:
        """The name alone."""
        return ["name"]

    def build(self, record: Record) -> Tool:
        """A tool of one entry of an answer."""
        name = id_of(record, "name")
        title = text_of(record, "title", "") or name
        schema = schema_of(record, "inputSchema")
        return Tool(f"{self.server}.{name}" if self.server else name, title, text_of(record, "description", ""), schema)

    def tasks(self) -> list[ReadTask]:
        """One a file."""
        return [ReadTask(str(file), "tool", partial(_read, file, self)) for file in find(self.path)]


def _read(file: SourceFile, files: McpFiles) -> Reading:
    position = 0
    for answer in _answers(file):
        if isinstance(answer, Broken):
            position += 1
            yield position, Reject("tools", answer.reason, answer.content)
            continue
        for entry in _entries(file, answer):
            position += 1
            record: Record | Broken = entry if isinstance(entry, dict) else _no_object(entry)
            yield position, row_or_reject("tools", record, files.build)


def _answers(file: SourceFile) -> Iterator[Mapping[str, Any] | Broken]:
    """The answers of a file: the whole of it is JSON, or each line is."""
    with file.open("rb") as stream:
        whole = stream.read()
    try:
        read = json.loads(whole)
    except (UnicodeDecodeError, ValueError):
        yield from (record for _, record in json_lines(file))
        return
    for answer in read if isinstance(read, list) else [read]:
        yield (
            answer if isinstance(answer, dict) else Broken(f"not an object: {type(answer).__name__}", str(answer)[:500])
        )


def _no_object(value: object) -> Broken:
    return Broken(f"not an object: {type(value).__name__}", str(value)[:500])


def _entries(file: SourceFile, answer: Mapping[str, Any]) -> list[Any]:
    if "error" in answer:
        raise InputError(f"{file}: the server answered with an error: {answer['error']!r}", "Ask it again.")
    found = answer.get("result", answer)
    tools = found.get("tools") if isinstance(found, Mapping) else None
    if not isinstance(tools, list):
        raise InputError(f"{file}: no list of tools", "Give the answer to tools/list, whole or its result.")
    return tools
