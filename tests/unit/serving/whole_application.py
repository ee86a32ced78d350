"""The whole application over real services, in this process: a small corpus, hashed vectors, no cluster."""

import json
from pathlib import Path

from fastapi import FastAPI

from data.encoders import load_encoder
from data.encoders.config import read_encoder
from retrieval.open import read_meta
from serving.admission import Admission
from serving.api import Services, application
from serving.config import ServeConfig
from serving.documents import DocumentsService, LiveLookup
from serving.embedder import Embedder
from serving.embedding import EmbeddingLimits, EmbeddingService
from serving.feedback import FeedbackService
from serving.index import IndexActor
from serving.journal import Journal
from serving.keys import KeyRing
from serving.live import LiveConfig
from serving.lookup import LookupFile, write_lookup
from serving.prepare import Preparer
from serving.ranking import EncoderRanker, RankingService
from serving.search import SearchService
from serving.sight import Metrics
from tests.unit.retrieval.test_build import build, write_run
from tests.unit.serving.test_lookup import documents, links

DIM = 64
LIMIT = 50  # live documents
CONFIG = ServeConfig(max_body_bytes=2**20, max_texts=100, max_text_chars=100_000)
ENCODER = read_encoder({"hashed": {"dim": DIM}})


def whole_application(folder: Path, kept_mb: int = 0, ring: KeyRing | None = None) -> FastAPI:
    """Every route over its service. Its ``state.index`` is closed before another one serves the same folder."""
    root = folder / "run"
    if not root.exists():
        write_whole_run(folder)
    meta = read_meta(root / "out")
    live = LiveConfig(folder=folder / "live", limit=LIMIT)
    embedder, index = Embedder(ENCODER, meta, CONFIG), IndexActor(root / "out", live, folder)
    limits = EmbeddingLimits(CONFIG.max_texts, CONFIG.max_text_chars)
    tokens, searches = Admission(5.0, 10_000_000), Admission(5.0, 1000)
    services = Services(
        search=SearchService(meta, embedder, index, 10.0, searches, kept_mb),
        embedding=EmbeddingService("hashed", DIM, embedder, limits, tokens),
        ranking=RankingService(EncoderRanker("hashed", embedder, 512), limits, tokens),
        lookup=LiveLookup(LookupFile(folder), index),
        documents=DocumentsService(index, Preparer(live, ENCODER, meta), embedder, limits, tokens),
        feedback=FeedbackService(Journal(folder / "journals")),
        metrics=Metrics({"tokens": tokens, "searches": searches}),
    )
    made = application(services, CONFIG, ring)
    made.state.index = index
    return made


def write_whole_run(folder: Path) -> None:
    """An index of 18 passages, and a look-up of the documents a and b with a link between them."""
    root = write_run(folder / "run", dim=DIM)
    manifest = json.loads((root / "manifest.json").read_text())
    (root / "manifest.json").write_text(json.dumps({**manifest, "fingerprint": load_encoder(ENCODER).fingerprint}))
    build(root)
    write_lookup(folder, documents(folder / "texts", ["a", "b"]), links(folder / "known", [("a", "b", 1.0)]), None)
