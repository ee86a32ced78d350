"""The catalogue of a run: where its tools, capabilities and traces are."""

from typing import ClassVar

from pydantic import Field, model_validator

from data.artifacts import StageConfig
from data.errors import InputError
from data.sources.beir_catalogue import BeirCatalogue
from data.sources.catalogue import CapabilityFiles, ToolFiles, TraceFiles
from data.sources.files import table_tasks
from data.sources.mcp import McpFiles
from data.sources.paths import find, stamp
from data.sources.rows import ReadTask


class CatalogueSource(StageConfig):
    """Tools, the capabilities that use them, and traces; without capabilities each tool is one."""

    execution: ClassVar[frozenset[str]] = frozenset({"strict", "kept"})  # what is kept is named by the stage itself

    beir: BeirCatalogue | None = Field(None, description="a folder of tool retrieval in BEIR's layout, for all three")
    tools: ToolFiles | None = Field(None, description="JSON Lines, Parquet, CSV and TSV files of tools")
    mcp: list[McpFiles] = Field([], description="files of answers to tools/list of the Model Context Protocol")
    capabilities: CapabilityFiles | None = Field(None, description="files of capabilities")
    traces: TraceFiles | None = Field(None, description="files of traces")
    strict: bool = Field(False, description="stop with an error at the first rejected row")
    kept: bool = Field(True, description="whether traces that the run's own service has kept are added")

    @model_validator(mode="after")
    def _has_tools(self) -> "CatalogueSource":
        files = [name for name in ("tools", "mcp", "capabilities") if getattr(self, name)]
        if self.beir is not None and files:
            raise ValueError(f"give either beir or {' and '.join(files)}")
        if self.beir is None and not (self.tools or self.mcp):
            raise ValueError("give tools by beir, tools or mcp")
        return self

    def tasks(self) -> list[ReadTask]:
        """What reads it, in an order that is always the same.

        Raises:
            InputError: if a file or a column is missing.
        """
        tasks = [] if self.beir is None else self.beir.tasks()
        for table, files in (("tools", self.tools), ("capabilities", self.capabilities), ("traces", self.traces)):
            tasks += [] if files is None else table_tasks(table, files)
        return [*tasks, *(task for files in self.mcp for task in files.tasks())]

    def tool_paths(self) -> list[str]:
        """Where tools are, as the run file names it."""
        folder = [] if self.beir is None else [self.beir.folder]
        return [*folder, *(files.path for files in (self.tools, *self.mcp) if files is not None)]

    def stamps(self) -> dict[str, str]:
        """Size and time of each file.

        Raises:
            InputError: if one is missing.
        """
        listed = [] if self.beir is None else self.beir.files()
        for files in (self.tools, self.capabilities, self.traces, *self.mcp):
            listed += [] if files is None else find(files.path)
        try:
            return {str(file): stamp(file) for file in listed}
        except OSError as error:
            raise InputError(f"{error.filename}: {error.strerror}", "Check that the file can be read.") from error
