"""``GET /v1/releases``: what is served, and by which release."""

from fastapi import APIRouter

from retrieval.cross_encoder import ranker_name
from serving.api.auth import OF_KEYS, needs
from serving.api.errors import documented
from serving.releases import Releases
from serving.schemas.releases import ReleasesState, ReleaseState
from serving.variants import Variant


def router(releases: Releases[Variant]) -> APIRouter:
    """The route of releases."""
    routes = APIRouter(tags=["releases"], dependencies=[needs("admin")], responses=documented(*OF_KEYS))

    @routes.get("/v1/releases")
    async def state() -> ReleasesState:
        """The releases of the replica that answers; `catena deploy` changes them."""
        traffic = releases.traffic
        return ReleasesState(
            number=traffic.number,
            live=traffic.live,
            previous=traffic.previous,
            canary=None if traffic.canary is None else traffic.canary.release,
            canary_share=0.0 if traffic.canary is None else traffic.canary.share,
            shadow=None if traffic.shadow is None else traffic.shadow.release,
            shadow_share=0.0 if traffic.shadow is None else traffic.shadow.share,
            stopped=traffic.stopped,
            error=releases.error,
            releases=[
                ReleaseState(
                    id=id_,
                    made=release.made,
                    passages=release.passages,
                    link_model=None if release.links is None else release.links.version,
                    capabilities=None if release.capabilities is None else release.capabilities.name,
                    bundles=None if release.bundles is None else release.bundles.name,
                    ranker=None if release.ranker is None else ranker_name(release.ranker),
                    open=id_ in releases,
                )
                for id_, release in traffic.releases.items()
            ],
        )

    return routes
