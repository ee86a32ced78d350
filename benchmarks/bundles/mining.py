"""Frequent itemsets beside mlxtend's FP-growth and rusket: seconds, peak memory, and that the sets are as many."""

from benchmarks.bundles.child import measured
from benchmarks.rows import Row
from data.errors import InputError


def measure() -> list[Row]:
    """Synthetic baskets, retail and chess; each way in a process of its own on one core."""
    rows = []
    for name, support, length, least in (
        ("synthetic", "0.001", "3", 20.0),
        ("retail", "0.01", "4", 10.0),
        ("chess", "0.7", "10", 10.0),
    ):
        by_way = {way: measured("mine", way, name, support, length) for way in ("catena", "mlxtend", "rusket")}
        if len({found["sets"] for found in by_way.values()}) > 1:
            raise InputError(f"itemsets of {name} differ: {by_way}", "This is a fault of one of the three.")
        ours, theirs, rusket = by_way["catena"], by_way["mlxtend"], by_way["rusket"]
        what = f"{name}, support {support}, length up to {length}: {ours['sets']:,} itemsets"
        rows += [
            Row(
                id=f"bundles.itemsets_{name}",
                what=f"{what}; times faster than mlxtend's fpgrowth",
                value=theirs["seconds"] / ours["seconds"],
                unit="x",
                at_least=least,
                peer=f"mlxtend {theirs['seconds']:.3g} s, Catena {ours['seconds']:.3g} s",
            ),
            Row(
                id=f"bundles.itemsets_{name}_rusket",
                what=f"{what}; times faster than rusket",
                value=rusket["seconds"] / ours["seconds"],
                unit="x",
                at_least=0.67,
                reach=1.0,
                peer=f"rusket {rusket['seconds']:.3g} s, Catena {ours['seconds']:.3g} s",
            ),
        ]
        if name != "synthetic":
            peak = {way: measured("memory", way, name, support, length)["peak_mb"] for way in ("catena", "mlxtend")}
            rows.append(
                Row(
                    id=f"bundles.itemsets_{name}_memory",
                    what=f"{what}; peak memory over mlxtend's",
                    value=peak["catena"] / peak["mlxtend"],
                    unit="x",
                    at_most=0.1,
                    peer=f"mlxtend {peak['mlxtend']:.0f} MB, Catena {peak['catena']:.1f} MB, baskets included",
                )
            )
    return rows
