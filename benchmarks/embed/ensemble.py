"""Ensembles: what the members reach alone, and what each fusion of them reaches, on questions held out.

Members are those of a bare machine: the default model, and hashed TF-IDF with the words of the corpus counted.
"""

from pathlib import Path

from benchmarks.rows import Row
from data.encoders import load_encoder
from data.encoders.config import HashedConfig, TransformerConfig
from data.encoders.ensemble.fusion import Concatenation, Fusion, WeightedMean, shares
from data.encoders.hashed import HashedEncoder, Idf
from data.partitions import read_batches
from data.passages.text import passage_text
from ray_apps.config import load_run
from ray_apps.encoder.corpus import corpus_needs, corpus_of
from ray_apps.plan import Plan
from training.encoders.config import FuseConfig
from training.encoders.fuse import FuseExamples
from training.encoders.fusion import judge, learn

RUN = Path(__file__).resolve().parents[2] / "runs" / "cranfield.yaml"
HELD_OUT = 0.3  # of 225 questions: fewer would not show a difference of some hundredths
DIM = 2048


def measure() -> list[Row]:
    """nDCG@10 of each fusion beside its members; half a minute on two cores."""
    plan = Plan(load_run(RUN))
    texts = (
        passage_text(title, text)
        for batch in read_batches(plan.bring("ingest").path / "documents", ["title", "text"])
        for title, text in zip(batch["title"].to_pylist(), batch["text"].to_pylist(), strict=True)
    )
    hashed = HashedEncoder(HashedConfig(dim=DIM), Idf.fit(texts, "english"))
    members = [load_encoder(TransformerConfig()), hashed]
    stages = {name: plan.bring(stage) for name, stage in corpus_needs(plan).items()}
    examples = FuseExamples(corpus_of(stages), FuseConfig()).encoded(
        lambda texts: [member.encode(texts) for member in members],
        lambda texts: [member.encode_queries(texts) for member in members],
    )
    learned = learn(examples, FuseConfig(test_share=HELD_OUT))
    dims, equal = tuple(member.dim for member in members), shares(None, 2)
    fusions: dict[str, Fusion] = {
        "mean": WeightedMean(equal, dims, seed=0),
        "concatenation": Concatenation(equal, dims),
        "attention": learned.fusion,
    }
    figures = judge(examples, learned.test, fusions)
    alone = f"members alone: model {figures['member 1']:.4f}, hashed TF-IDF {figures['member 2']:.4f}"
    return [
        Row(
            id=f"embed.ensemble_{name}",
            what=f"nDCG@10 of {name} of the default model and hashed TF-IDF ({DIM}), exact search, "
            f"{len(learned.test)} held-out questions of cranfield",
            value=round(figures[name], 4),
            unit="nDCG@10",
            at_least=round(max(figures["member 1"], figures["member 2"]), 4),
            peer=alone,
        )
        for name in fusions
    ]
