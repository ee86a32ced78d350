"""A folder in BEIR's layout as a catalogue: documents are tools, questions and their answers are traces."""

from collections.abc import Iterator
from functools import partial
from typing import Literal

from pydantic import Field

from data.artifacts import StageConfig
from data.errors import InputError
from data.sources.beir import BeirSource
from data.sources.files import table_tasks
from data.sources.remote import SourceFile
from data.sources.rows import Capability, Document, Reading, ReadTask, Reject, Row, Tool, Trace


class BeirCatalogue(StageConfig):
    """Tool retrieval in BEIR's layout: what answers a question is what ran for it, with success."""

    folder: str = Field(description="the folder, or its URL; environment variables are replaced")
    split: str = Field("test", description="which judgments: the name of a file in qrels/")
    several: Literal["apart", "together"] = Field(
        "apart",
        description="a question with several answers is a trace of each, or of a capability that has them all as tools",
    )

    @property
    def beir(self) -> BeirSource:
        """The folder as a corpus."""
        return BeirSource(folder=self.folder, split=self.split)

    def files(self) -> list[SourceFile]:
        """Every file it reads."""
        return self.beir.files()

    def tasks(self) -> list[ReadTask]:
        """Tools and their capabilities by file of the corpus; traces, and capabilities of several tools, in one.

        Raises:
            InputError: if the folder has no judgments of the split.
        """
        if not self.beir.has_split(self.split):
            raise InputError(f"{self.folder}: no judgments qrels/{self.split}.tsv", "Name a split that is there.")
        documents = table_tasks("documents", self.beir.tables()["documents"])
        of_tools = [ReadTask(task.source, task.unit, partial(_tools, task)) for task in documents]
        source = f"{self.folder}/qrels/{self.split}.tsv"
        return [*of_tools, ReadTask(source, "question", partial(_traces, self))]


def _tools(documents: ReadTask) -> Reading:
    for position, row in documents.read():
        if isinstance(row, Document):
            yield position, Tool(row.id, row.title or row.id, row.text)
            yield position, Capability(row.id, f"{row.title}\n{row.text}".strip(), (row.id,))
        else:
            yield position, row._replace(table="tools") if isinstance(row, Reject) else row


def _traces(config: BeirCatalogue) -> Reading:
    texts, grades = config.beir.questions(config.split)
    made: set[str] = set()
    for position, (id_, text) in enumerate(texts.items(), start=1):
        answers = [document for document, grade in grades[id_].items() if grade > 0]
        for row in _of_question(id_, text, answers, config.several == "together"):
            if isinstance(row, Capability):
                if row.id in made:
                    continue
                made.add(row.id)
            yield position, row


def _of_question(id_: str, text: str, answers: list[str], together: bool) -> Iterator[Row]:
    if together and len(answers) > 1:
        chosen = " + ".join(sorted(answers))
        yield Capability(chosen, "", tuple(sorted(answers)))
        yield _succeeded(id_, text, chosen)
        return
    for number, answer in enumerate(answers):
        yield _succeeded(id_ if number == 0 else f"{id_}#{number}", text, answer)


def _succeeded(id_: str, intent: str, chosen: str) -> Trace:
    return Trace(id_, None, None, intent, (), (), None, None, chosen, (), "success", None, None, None)
