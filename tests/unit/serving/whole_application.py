"""The whole application over real services, in this process: a small corpus, hashed vectors, no cluster."""

import json
import socket
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
from fastapi import FastAPI

from data.encoders import load_encoder
from data.encoders.config import read_encoder
from evaluation.calibration import Calibrator
from retrieval.open import read_meta
from retrieval.pipelines import Ranker
from retrieval.steps import FindStep, Ranks, RankStep, Step, every_pipeline
from retrieval.terms import bm25_of
from serving.admission import Admission
from serving.api import Services, application
from serving.artifacts import LinkArtifacts, LiveConfig
from serving.capabilities import NO_CAPABILITIES, CapabilityRanking
from serving.config import ServeConfig
from serving.documents import DocumentsService, LiveLookup
from serving.embedder import Embedder
from serving.embedding import EmbeddingLimits, EmbeddingService
from serving.feedback import FeedbackService
from serving.index import IndexActor
from serving.journal import Journal
from serving.keys import KeyRing
from serving.links import LinkService
from serving.lookup import LookupFile, write_lookup
from serving.named import NO_MODELS, NamedModels
from serving.prepare import Preparer
from serving.ranking import EncoderRanker, RankingService
from serving.search import SearchService
from serving.sight import Metrics, Sink
from serving.traces import Traces
from tests.unit.discovery.test_unseen import write_corpus
from tests.unit.retrieval.test_build import build, write_run
from tests.unit.serving.test_lookup import documents, links

DIM = 64
ENCODER = read_encoder({"hashed": {"dim": DIM}})
LIMIT = 50  # live documents
CONFIG = ServeConfig(
    max_body_bytes=2**20,
    max_texts=100,
    max_text_chars=100_000,
)
PIPELINES = every_pipeline(
    {
        "exact": (FindStep(find="bm25", depth=7),),
        "ranked": (FindStep(find="hybrid", depth=6), RankStep(rank="cross-encoder", depth=6)),
        "strict": (FindStep(find="dense", min_score=0.1),),
    },
    late=False,
    depth=None,
)


@cache
def link_model() -> tuple[tempfile.TemporaryDirectory[str], LinkArtifacts]:
    """The folder of a small trained link model, which is there as long as this process, and what is in it.

    Its corpus is another one than that of the index: documents ``d0_0`` to ``d3_14``.
    """
    folder = tempfile.TemporaryDirectory()
    encoder = load_encoder(ENCODER)
    _, graph, train = write_corpus(Path(folder.name), lambda texts: encoder.encode(texts))
    Calibrator("platt", np.empty(0), np.empty(0), 0.5, -1.0).save(train / "calibrator.json")
    return folder, LinkArtifacts(graph=graph, train=train, calibrator=train / "calibrator.json")


def whole_application(
    folder: Path,
    traces: Traces | None = None,
    kept_mb: int = 1,
    ring: KeyRing | None = None,
    named: NamedModels = NO_MODELS,
    pipelines: Mapping[str, tuple[Step, ...]] = MappingProxyType({}),
    rankers: Mapping[Ranks, Ranker] = MappingProxyType({}),
    sinks: Sequence[Sink] = (),
    listening: socket.socket | None = None,
    capabilities: CapabilityRanking = NO_CAPABILITIES,
) -> FastAPI:
    """Every route over its service. Its ``state.index`` is closed before another one serves the same folder."""
    root = folder / "run"
    if not root.exists():
        write_whole_run(folder)
    meta = read_meta(root / "out")
    live = LiveConfig(folder=folder / "live", limit=LIMIT)
    embedder, index = Embedder(ENCODER, meta, CONFIG), IndexActor(root / "out", live, folder)
    limits = EmbeddingLimits(CONFIG.max_texts, CONFIG.max_text_chars)
    tokens, searches = Admission(5.0, 10_000_000), Admission(5.0, 1000)
    ranking = RankingService(EncoderRanker("hashed", embedder, 512), limits, tokens)
    services = Services(
        search=SearchService(
            meta,
            embedder,
            index,
            10.0,
            searches,
            kept_mb,
            {**PIPELINES, **pipelines},
            ranking,
            rankers=rankers,
            links=True,
        ),
        embedding=EmbeddingService("hashed", DIM, embedder, limits, tokens, bm25_of(meta)),
        ranking=ranking,
        lookup=LiveLookup(LookupFile(folder), index),
        documents=DocumentsService(index, Preparer(live, ENCODER, meta, embedder), limits, tokens),
        links=LinkService(link_model()[1], embedder, LookupFile(folder).texts, 10_000, Admission(5.0, 500), 60.0),
        feedback=FeedbackService(Journal(folder / "journals")),
        metrics=Metrics({"tokens": tokens, "searches": searches}, {"replica": "r1"}),
        named=named,
        capabilities=capabilities,
    )
    made = application(services, CONFIG, ring, sinks, listening=listening, traces=traces)
    made.state.index, made.state.services = index, services
    made.state.tokens, made.state.searches = tokens, searches
    return made


def write_whole_run(folder: Path) -> None:
    """An index of 18 passages, and a look-up of the documents a and b with a link between them."""
    root = write_run(folder / "run", dim=DIM)
    manifest = json.loads((root / "manifest.json").read_text())
    (root / "manifest.json").write_text(json.dumps({**manifest, "fingerprint": load_encoder(ENCODER).fingerprint}))
    build(root)
    write_lookup(folder, documents(folder / "texts", ["a", "b"]), links(folder / "known", [("a", "b", 1.0)]), None)
