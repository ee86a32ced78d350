"""Missing values, the same in every reader and every column."""

import math
from decimal import Decimal

import numpy as np

MISSING_TYPES = frozenset({"NaTType", "NAType", "MaskedConstant"})  # of pandas and numpy, which need no import here


def is_missing(value: object) -> bool:
    """Whether a cell is missing: None, or the NaN, NaT or NA of any library."""
    if value is None:
        return True
    if isinstance(value, str):
        return False
    if isinstance(value, float | np.floating):
        return math.isnan(value)
    if isinstance(value, Decimal):
        return value.is_nan()
    if isinstance(value, np.datetime64 | np.timedelta64):
        return bool(np.isnat(value))
    return type(value).__name__ in MISSING_TYPES
