"""Every stage there is, those that others need before them."""

from typing import Any

from ray_apps.boosted import STAGE as BOOSTED
from ray_apps.bundles import BASKETS, BUNDLES, ITEM_VECTORS
from ray_apps.catalogue import CATALOGUE, INTENTS
from ray_apps.chunk import CHUNK, SENTENCES
from ray_apps.discover import DISCOVER
from ray_apps.embed import EMBED
from ray_apps.encoder.check import GATE
from ray_apps.encoder.export import ONNX, ONNX_INT8
from ray_apps.encoder.finetune import FINETUNE
from ray_apps.encoder.matryoshka import MATRYOSHKA
from ray_apps.evaluate_links import EVALUATE_LINKS
from ray_apps.evaluate_search import EVALUATE_SEARCH
from ray_apps.graph import GRAPH, SPLIT
from ray_apps.index import INDEX
from ray_apps.ingest import INGEST, STEPS
from ray_apps.late import LATE
from ray_apps.learn import LEARN
from ray_apps.lookup import LOOKUP
from ray_apps.plan import Stage
from ray_apps.ranker import RANKER
from ray_apps.reduce import REDUCE
from ray_apps.stats import STATS
from ray_apps.train import TRAIN
from ray_apps.tune import TUNE

STAGES: dict[str, Stage[Any, Any]] = {
    stage.name: stage
    for stage in (
        INGEST,
        STEPS,
        SENTENCES,
        CHUNK,
        SPLIT,
        FINETUNE,
        ONNX,
        ONNX_INT8,
        GATE,
        EMBED,
        LATE,
        REDUCE,
        INDEX,
        RANKER,
        BOOSTED,
        MATRYOSHKA,
        GRAPH,
        TRAIN,
        EVALUATE_SEARCH,
        EVALUATE_LINKS,
        DISCOVER,
        LOOKUP,
        CATALOGUE,
        INTENTS,
        LEARN,
        BASKETS,
        ITEM_VECTORS,
        BUNDLES,
        STATS,
        TUNE,
    )
}
