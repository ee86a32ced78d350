"""Keys of a plan's artifacts, by which tests see what a key of the run file changes."""

from ray_apps.plan import Plan

OTHER_SOURCES = {"catalogue", "intents", "learn", "baskets", "item_vectors", "bundles"}  # of other tables than a corpus


def keys_of(plan: Plan) -> dict[str, str]:
    """The key of each stage that is made of a corpus."""
    return {stage: plan.artifact(stage).key for stage in plan.stages if stage not in OTHER_SOURCES}
