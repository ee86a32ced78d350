"""Keys of the section ``bundles``: what is proposed, under which constraints, by which objectives."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from data.artifacts import StageConfig
from data.imports import IMPORT_PATH

SourceName = Literal["itemsets", "pairs", "text", "graph"]
SOURCES: tuple[SourceName, ...] = ("itemsets", "pairs", "text", "graph")
MONEY = ("revenue", "margin", "cannibalisation")
OBJECTIVES = ("reach", "lift", "cross_sell", "stock_risk", *MONEY)


class ObjectiveConfig(StageConfig):
    """An objective of the user's own: a function of ``objectives.Batch`` that returns a value a bundle."""

    name: str = Field(description="its name in results")
    path: str = Field(pattern=IMPORT_PATH, description="import path of the function, my_package.objectives:freshness")
    maximise: bool = Field(True, description="whether more is better")


class PriceConfig(StageConfig):
    """How a bundle is priced."""

    min_discount: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="smallest discount on the sum of the list prices; 0 lets what sells anyhow be shown without",
    )
    max_discount: float = Field(0.25, ge=0, lt=1, description="largest discount")
    step: float = Field(0.01, gt=0, le=0.5, description="discounts that are tried lie this far apart")
    margin_floor: float = Field(0.05, ge=0, lt=1, description="least margin, as a share of the bundle's price")
    cost_share: float = Field(0.7, gt=0, lt=1, description="cost of a unit over its list price, where it is unknown")
    response: float = Field(-1.5, lt=0, ge=-10, description="own-price elasticity where the data do not show it")
    uptake: float = Field(
        0.5,
        gt=0,
        le=1,
        description="chance that a basket which lacks one item of a bundle takes it at list price, as a share of the "
        "chance that baskets with the rest hold it (its confidence)",
    )
    ending: float | None = Field(
        None, ge=0, lt=1, description="a discounted price ends on this, such as 0.99, where the discounts allow it"
    )

    @model_validator(mode="after")
    def _ordered(self) -> "PriceConfig":
        if self.min_discount > self.max_discount:
            raise ValueError(f"min_discount {self.min_discount} is above max_discount {self.max_discount}")
        return self


class ConstraintConfig(StageConfig):
    """What a portfolio must keep."""

    bundles: int = Field(12, ge=1, le=500, description="bundles of a portfolio")
    at_least: int = Field(1, ge=1, description="fewest bundles of a portfolio")
    min_size: int = Field(2, ge=2, le=6, description="fewest items of a bundle")
    max_size: int = Field(3, ge=2, le=6, description="most items of a bundle")
    item_at_most: int = Field(3, ge=1, description="bundles that one item is in, at most")
    budget: float | None = Field(None, gt=0, description="most that discounts cost in a period, in the currency")
    use_stock: bool = Field(True, description="leave out bundles that the stock of a period does not cover")
    distinct_categories: bool = Field(True, description="no two items of one bundle are of one narrowest category")
    exclude_categories: list[str] = Field([], description="no item of these categories, at any level")

    @model_validator(mode="after")
    def _ordered(self) -> "ConstraintConfig":
        if self.min_size > self.max_size:
            raise ValueError(f"min_size {self.min_size} is above max_size {self.max_size}")
        if self.at_least > self.bundles:
            raise ValueError(f"at_least {self.at_least} is above bundles {self.bundles}")
        return self


class SearchConfig(StageConfig):
    """How portfolios are searched."""

    method: Literal["evolution", "greedy"] = Field("evolution", description="NSGA, or greedy choices alone")
    evaluations: int = Field(6000, ge=100, description="portfolios that are evaluated, at most")
    population: int = Field(100, ge=8, le=1000, description="portfolios of a generation")
    stall_generations: int | None = Field(
        12, ge=1, description="stop when hypervolume has grown by less than 0.1% in so many generations; never if null"
    )
    exact: bool = Field(True, description="solve the weighted sum exactly as well, and report the distance")
    seed: int = Field(0, ge=0, description="of the search")


class WordsConfig(StageConfig):
    """An OpenAI-compatible endpoint that words the reasons; the key is read from the environment."""

    url: str = Field(description="address up to /v1, such as http://localhost:8000/v1")
    model: str = Field(description="name of the model")
    timeout_s: float = Field(10.0, gt=0, le=120, description="seconds that one answer may take")


class BundlesConfig(StageConfig):
    """Bundles of the items that baskets hold."""

    execution: ClassVar[frozenset[str]] = frozenset({"parallel"})

    sources: list[SourceName] = Field(list(SOURCES), min_length=1, description="where candidates come from")
    min_support: float = Field(
        0.001, gt=0, le=1, description="least share of baskets of an itemset; never fewer than min_baskets"
    )
    min_baskets: int = Field(5, ge=1, description="baskets that hold an item, or a mined set, at the least")
    max_basket: int | None = Field(
        200, ge=2, description="items of a basket that are mined, the commonest; all if null"
    )
    shrinkage: float = Field(5.0, ge=0, description="baskets by which lifts are drawn towards 1")
    min_lift: float = Field(
        1.0, ge=0, description="least shrunken lift of a candidate that enough baskets are expected to hold to tell"
    )
    per_source: int = Field(600, ge=1, le=20_000, description="candidates kept of each source")
    candidates: int = Field(200, ge=2, le=5000, description="candidates that portfolios are made of")
    per_item: int = Field(12, ge=1, description="candidates that one item is in, at most")
    neighbours: int = Field(20, ge=1, le=500, description="nearest items by text and by the graph")
    substitute_similarity: float = Field(
        0.85, gt=0, le=1, description="cosine of names from which items count as substitutes, not as complements"
    )
    graph_dimensions: int = Field(48, ge=2, le=512, description="dimensions of the co-purchase graph's vectors")
    objectives: list[str | ObjectiveConfig] | None = Field(
        None,
        description="objectives: reach, lift, cross_sell, stock_risk, revenue, margin, cannibalisation, or of your "
        "own; reach, cross_sell and margin (without prices lift) where unset",
    )
    weights: dict[str, Annotated[float, Field(ge=0)]] = Field(
        {}, description="weight of objectives in the choice of one portfolio; unset, 3 of reach and 1 of any other"
    )
    prices: PriceConfig = Field(PriceConfig(), description="how a bundle is priced")
    constraints: ConstraintConfig = Field(ConstraintConfig(), description="what a portfolio must keep")
    search: SearchConfig = Field(SearchConfig(), description="how portfolios are searched")
    backtest_share: float = Field(0.25, ge=0, lt=1, description="share of the periods, the last, that judge; none if 0")
    words: WordsConfig | None = Field(None, description="a model that words the reasons; templates do where unset")
    parallel: bool = Field(True, description="run the sources at the same time")

    @field_validator("objectives")
    @classmethod
    def _known(cls, named: list[str | ObjectiveConfig] | None) -> list[str | ObjectiveConfig] | None:
        names = [one if isinstance(one, str) else one.name for one in named or []]
        for one in named or []:
            if isinstance(one, str) and one not in OBJECTIVES:
                raise ValueError(f"{one!r} is no objective; allowed: {', '.join(OBJECTIVES)}, or name and path")
        if len(set(names)) < len(names):
            raise ValueError("an objective is named twice")
        if named is not None and not named:
            raise ValueError("name at least one objective")
        return named
