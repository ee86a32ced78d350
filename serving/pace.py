"""How large batches may be and how long a text may wait, for a target of latency: a small controller."""

SHARE = 0.5  # of the target for a text's own batch; it may come when one of equal size has just begun
LEAST = 1 / 32  # of the largest budget: of 2,048 tokens, those of two questions
STEP = 1.25  # largest change at a batch
FULL = 0.5  # of the budget, from which a batch says something about the budget


class Pace:
    """Brings the cost of a batch to what is done in half the target, and the wait to what is then left of it.

    Each full batch is measured: took it longer than its share of the target, the budget shrinks in proportion, by a
    quarter at most; else it grows likewise, up to ``most_tokens``. A smaller batch changes nothing unless it took too
    long. What waits for fuller batches to go first may wait as long as two batches leave of the target.

    Args:
        target_s: seconds within which a text is to be encoded, its waiting included.
        most_tokens: largest budget.
        most_age_s: longest wait.
    """

    def __init__(self, target_s: float, most_tokens: int, most_age_s: float) -> None:
        self._target_s, self._share_s = target_s, SHARE * target_s
        self._most_tokens, self._most_age_s = most_tokens, most_age_s
        self._tokens = float(most_tokens)
        self._batch_s = 0.0  # of a batch as large as the budget, as the last ones were

    @property
    def max_tokens(self) -> int:
        """Largest cost of a batch."""
        return round(self._tokens)

    @property
    def max_age_s(self) -> float:
        """Seconds after which a request is next, before fuller batches."""
        return min(self._most_age_s, max(0.0, self._target_s - 2 * self._batch_s))

    def add(self, tokens: float, seconds: float) -> None:
        """A batch of so many tokens took so long."""
        full = tokens >= FULL * self._tokens
        if not full and seconds <= self._share_s:
            return
        self._batch_s += 0.2 * (seconds - self._batch_s)
        change = self._share_s / max(seconds, 1e-6)
        self._tokens = min(
            self._most_tokens, max(LEAST * self._most_tokens, self._tokens * min(STEP, max(1 / STEP, change)))
        )
