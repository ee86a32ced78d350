"""Where a corpus comes from: one reader a format, chosen in the run file by the name of its section.

A reader is a config with two methods: ``files()`` names what it reads, ``tasks()`` cuts the reading into independent
tasks (``rows.ReadTask``) that yield good rows and rejected ones. Readers know nothing of Ray; ``ingest`` runs them.

``paths``     expands ``$CATENA_DATA`` and finds files     ``remote``   files by URL, fetched ahead of their reader
``records``   records of a file in any format              ``lines``    lines of text, plain or gzip
``delimited`` CSV and TSV                                  ``parquet``  rows of Parquet
``cells``     one cell as text, number or moment           ``fields``   records to rows, and why one is rejected
``rows``      the types of what is read
``files``     JSON Lines, Parquet, CSV, TSV                ``beir``     BEIR folders
``bible``     verses and OpenBible.info references         ``triples``  knowledge graphs
``graph``     graphs without text         ``arrays``   NumPy files of links and features
``pydocs``    the built-in corpus: documented libraries    ``function`` a user-defined function
``judgements`` proposed links that people have judged     ``live``     documents that were put while a run was served
``landing``   rows of one task to Parquet, as they come             ``features`` features of nodes as vectors

``pydocs`` runs ``docstrings`` as a script in a child process and reads links with ``see_also``.
"""

import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

from pydantic import Field, model_validator

from data.artifacts import StageConfig
from data.errors import InputError
from data.sources.beir import BeirSource
from data.sources.bible import BibleSource
from data.sources.files import FilesSource
from data.sources.function import FunctionSource
from data.sources.graph import GraphSource
from data.sources.judgements import judgement_files, judgement_tasks
from data.sources.live import digest_of, live_task
from data.sources.paths import stamp
from data.sources.pydocs.source import PydocsSource
from data.sources.remote import AHEAD
from data.sources.rows import ReadTask
from data.sources.triples import TriplesSource

Reader = FilesSource | BeirSource | BibleSource | TriplesSource | GraphSource | PydocsSource | FunctionSource
READERS = ("files", "beir", "bible", "triples", "graph", "pydocs", "function")


class SourceConfig(StageConfig):
    """The corpus of a run: exactly one reader, and the keys that all readers share."""

    execution: ClassVar[frozenset[str]] = frozenset({"strict", "where", "live"})  # what is in `live`: fingerprint

    files: FilesSource | None = Field(None, description="JSON Lines, Parquet, CSV and TSV files with a column mapping")
    beir: BeirSource | None = Field(None, description="a folder in BEIR's layout")
    bible: BibleSource | None = Field(None, description="verses and OpenBible.info cross references")
    triples: TriplesSource | None = Field(None, description="head, relation, tail, and entity texts")
    graph: GraphSource | None = Field(None, description="links and features of a graph without text")
    pydocs: PydocsSource | None = Field(None, description="docstrings of installed libraries: the built-in corpus")
    function: FunctionSource | None = Field(None, description="a function of your own that yields documents and links")
    undirected: bool = Field(True, description="count a link and its reverse of the same relation as one")
    self_links: bool = Field(
        False, description="keep links of a document to itself, which only typed links (train.task) make use of"
    )
    judgements: list[str] = Field(
        [],
        description="CSV files of proposed links that people have judged, as discovery writes them to be filled in: a "
        "pair with the verdict yes is a link, one with the verdict no is not proposed again",
    )
    live: Path | None = Field(
        None,
        description="file of documents that were put and deleted while the run was served; that of the workspace, as "
        "catena index writes it, where unset",
    )
    strict: bool = Field(False, description="stop with an error at the first rejected row")
    where: str | None = Field(
        None, description="where the corpus is published and where its files go; shown if they are missing"
    )

    @model_validator(mode="after")
    def _one_reader(self) -> "SourceConfig":
        given = [name for name in READERS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(READERS)}; given: {', '.join(given) or 'none'}")
        return self

    @property
    def has_text(self) -> bool:
        """Whether documents are texts; nodes of a graph are not."""
        return self.graph is None

    @property
    def reader(self) -> Reader:
        """The one that is given."""
        readers: list[Reader] = [reader for name in READERS if (reader := getattr(self, name)) is not None]
        return readers[0]


def fingerprint(config: SourceConfig) -> dict[str, str]:
    """Fingerprint of the corpus: size and time of each file, version of each package, digest of a function's code.

    Raises:
        InputError: if something of it is missing; the remedy is the run file's own word on where to get it.
    """
    try:
        reader = config.reader
        versions, files = {}, judgement_files(config.judgements)
        if isinstance(reader, PydocsSource | FunctionSource):
            versions = reader.versions()
        else:
            files = [*reader.files(), *files]
        with ThreadPoolExecutor(AHEAD) as pool:  # remote storage takes its time to answer for each
            stamps = {**versions, **dict(zip(map(str, files), pool.map(stamp, files), strict=True))}
        return stamps if config.live is None else {**stamps, "live": digest_of(config.live)}
    except InputError as error:
        raise _with_where(error, config) from None


def read_tasks(config: SourceConfig) -> list[ReadTask]:
    """The tasks that read the corpus, in an order that is always the same.

    Raises:
        InputError: if a file or a column is missing.
    """
    try:
        live = [] if config.live is None else [live_task(config.live)]
        return [*config.reader.tasks(), *judgement_tasks(config.judgements), *live]
    except InputError as error:
        raise _with_where(error, config) from None
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}", "Check that the file can be read.") from error


def _with_where(error: InputError, config: SourceConfig) -> InputError:
    if config.where is None:
        return error
    return InputError(error.problem, f"{error.remedy}\n{textwrap.indent(config.where.strip(), '  ')}")
