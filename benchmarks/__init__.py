"""Side-by-side measurements: one module a benchmark, each with ``measure() -> list[Row]``; ``rows`` defines a row.

``catena bench NAME`` runs one and writes its page into ``results``: ours and its peer in one run, as medians.
"""
