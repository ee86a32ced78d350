"""A circuit breaker: while the encoder is down, no caller waits for it.

Nygard, "Release It!" (2007). Closed, calls pass. After some failures in a row, or one that took long, it opens: calls
fail at once. Half-open, one call is tried again in the background, and no caller waits for it: its success closes the
breaker.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from data.encoders.protocol import Encoded, Encoder, Vectors
from data.errors import EncoderUnavailable

logger = logging.getLogger("catena")

Answer = TypeVar("Answer")
LONG_S = 1.0  # a failure that took longer opens the breaker alone: the next callers would wait as long


class Breaker:
    """Guards an encoder. It counts ``EncoderUnavailable`` as a failure; any other exception is an answer.

    Args:
        failures: failures in a row that open it.
        retry_s: seconds between two tries while it is open.
    """

    def __init__(self, failures: int, retry_s: float) -> None:
        self._most, self._retry_s = failures, retry_s
        self._lock = threading.Lock()
        self._failures = 0
        self._reason: EncoderUnavailable | None = None  # why it is open; None while it is closed
        self._try_at = 0.0
        self._trying = False

    @property
    def is_open(self) -> bool:
        """Whether calls fail at once."""
        return self._reason is not None

    def call(self, ask: Callable[[], Answer]) -> Answer:
        """The answer of ``ask``, or at once the failure that opened the breaker.

        Raises:
            EncoderUnavailable: if ``ask`` raises it, or the breaker is open.
        """
        with self._lock:
            reason = self._reason
            due = reason is not None and not self._trying and time.monotonic() >= self._try_at
            self._trying = self._trying or due
        if due:
            threading.Thread(target=self._try_again, args=(ask,), name="breaker", daemon=True).start()
        if reason is not None:
            raise EncoderUnavailable(reason.problem, reason.remedy)
        return self._counted(ask)

    def _counted(self, ask: Callable[[], Answer]) -> Answer:
        started = time.monotonic()
        try:
            answer = ask()
        except EncoderUnavailable as error:
            self._failed(error, time.monotonic() - started)
            raise
        with self._lock:
            if self._reason is not None:
                logger.info("encoder: it answers again")
            self._failures, self._reason = 0, None
        return answer

    def _failed(self, error: EncoderUnavailable, seconds: float) -> None:
        with self._lock:
            self._failures += 1
            self._try_at = time.monotonic() + self._retry_s
            if self._reason is None and (self._failures >= self._most or seconds > LONG_S):
                logger.warning("encoder: %s; retrying every %g s", error.problem, self._retry_s)
                self._reason = error

    def _try_again(self, ask: Callable[[], object]) -> None:
        try:
            self._counted(ask)
        except EncoderUnavailable:
            logger.debug("encoder: still unavailable")
        except Exception as error:  # an answer too: the next caller gets the exception itself
            logger.debug("encoder: %s", error)
            with self._lock:
                self._failures, self._reason = 0, None
        finally:
            self._trying = False


class BreakingEncoder:
    """An encoder of questions with a breaker before it.

    Args:
        encoder: what is asked.
        breaker: counts its failures.
    """

    def __init__(self, encoder: Encoder, breaker: Breaker) -> None:
        self._encoder, self._breaker = encoder, breaker
        self.dim, self.fingerprint = encoder.dim, encoder.fingerprint
        self.precision, self.cosine_to_fp32 = encoder.precision, encoder.cosine_to_fp32

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors of documents.

        Raises:
            EncoderUnavailable: if the encoder is unavailable, at once while the breaker is open; so with the others.
        """
        return self._breaker.call(lambda: self._encoder.encode(texts))

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of questions."""
        return self._breaker.call(lambda: self._encoder.encode_queries(texts))

    def encode_counted(self, texts: Sequence[str]) -> Encoded:
        """Vectors of documents with the tokens and the padding they took."""
        return self._breaker.call(lambda: self._encoder.encode_counted(texts))

    def encode_queries_counted(self, texts: Sequence[str]) -> Encoded:
        """Vectors of questions with the tokens and the padding they took."""
        return self._breaker.call(lambda: self._encoder.encode_queries_counted(texts))
