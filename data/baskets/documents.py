"""The products of order lines as documents, so that a run whose shop has no list of products has a corpus."""

from collections.abc import Iterator

from data.baskets.config import BasketsConfig
from data.baskets.items import read_items


def names(**orders: object) -> Iterator[dict[str, str]]:
    """A document for each product that order lines name, for ``source.function``.

    Args:
        orders: keys of ``baskets.orders``.
    """
    _, items, _ = read_items(BasketsConfig.model_validate({"orders": orders}))
    for id_, name in items.select("id", "name").iter_rows():
        yield {"id": id_, "title": name, "text": name}
