"""``POST /v1/bundles``."""

from fastapi import APIRouter

from serving.api.auth import OF_KEYS, needs
from serving.api.errors import documented
from serving.bundles import BundleProposals
from serving.schemas.bundles import BundlesAnswer, BundlesRequest


def router(service: BundleProposals) -> APIRouter:
    """The route that proposes bundles."""
    routes = APIRouter(tags=["bundles"], dependencies=[needs("search")], responses=documented(*OF_KEYS))

    @routes.post("/v1/bundles", responses=documented("bad_request", "not_found", "invalid_request"))
    async def propose(request: BundlesRequest) -> BundlesAnswer:
        """Bundles for a basket, a product or a campaign, best first by the weights of objectives."""
        return service.propose(request)

    return routes
