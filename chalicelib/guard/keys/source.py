"""What verification needs, fetched as the settings say and kept for a while."""

import threading
from collections.abc import Callable, Sequence
from time import monotonic, perf_counter, time
from typing import NamedTuple

from chalicelib.guard import decision_log
from chalicelib.guard.decision import KeysUnavailable, described
from chalicelib.guard.keys import jwks, secrets_manager
from chalicelib.guard.revocations import Revocations
from chalicelib.guard.settings import Settings
from chalicelib.guard.tokens import Key

#: How long a failed fetch is not repeated, in seconds: without usable keys, and while older ones are used.
RETRY_AFTER, RETRY_STALE_AFTER = 3.0, 30.0
#: An early refresh comes at most once in so many seconds, so that a flood of forged tokens is no flood of calls.
EARLY_REFRESH_EVERY = 30.0

Clocks = Callable[[], tuple[float, float]]


class KeySet(NamedTuple):
    """Keys that verify, newest first, and whose sessions were ended: fetched `age` seconds ago."""

    keys: Sequence[Key]
    revocations: Revocations = Revocations()
    notes: tuple[str, ...] = ()  # what an operator should know, in our own words
    age: float = 0.0
    failure: str | None = None  # why it could not be refreshed


def fetch(settings: Settings) -> KeySet:
    """Return what verifies now; KeysUnavailable, or an unexpected error, if there is nothing."""
    notes: list[str] = []
    if settings.jwks_url is not None:
        keys = jwks.fetch(settings)
    elif settings.local_secret is not None:
        keys = secrets_manager.hmac_keys(settings.local_secret, None, settings.algorithms, "AUTHORIZER_SECRET")
    else:
        keys = secrets_manager.fetch(settings, notes)
    return KeySet(keys, secrets_manager.revocations(settings, notes), tuple(dict.fromkeys(notes)))


class CachedKeys:
    """What `fetch` returns, kept for `ttl` seconds, and for `max_stale` more while `fetch` raises."""

    # `clocks` are the monotonic and the wall-clock time, in seconds.
    def __init__(
        self, fetch: Callable[[], KeySet], ttl: float, max_stale: float, clocks: Clocks = lambda: (monotonic(), time())
    ) -> None:
        self._fetch, self._ttl, self._clocks = fetch, ttl, clocks
        self._usable_for = ttl + max_stale
        self._lock, self._elapsed, self._read = threading.Lock(), 0.0, clocks()
        self._kept, self._failure = KeySet(()), ""  # never served: the first request fetches
        self._fetched = self._next_fetch = self._next_early = -float("inf")

    def current(self) -> KeySet:
        """Return the keys; raise KeysUnavailable if there are none, or none that is fresh enough."""
        with self._lock:
            return self._keys(fetch=self._now() >= self._next_fetch)

    def refreshed(self) -> KeySet | None:
        """Return the keys, fetched again for a token that none of them fits; None if that was done just now."""
        with self._lock:
            if self._now() < self._next_early:
                return None
            self._next_early = self._elapsed + EARLY_REFRESH_EVERY
            return self._keys(fetch=True)

    def _now(self) -> float:
        # Seconds since the start, by whichever clock went further at each reading. The monotonic clock may stop while
        # Lambda freezes the environment, and the wall clock may be set back.
        before, self._read = self._read, self._clocks()
        self._elapsed += max(self._read[0] - before[0], self._read[1] - before[1])
        return self._elapsed

    def _keys(self, *, fetch: bool) -> KeySet:
        if fetch:
            began = self._now()  # keys are as old as the question, for an answer may wait in a frozen environment
            since = perf_counter()
            try:
                self._kept, self._failure, self._fetched = self._fetch(), "", began
                self._next_fetch = began + self._ttl
            except Exception as error:  # noqa: BLE001  # whatever it is, usable keys at hand are used
                self._failure, now = described(error), self._now()
                left = self._fetched + self._usable_for - now
                self._next_fetch = now + max(RETRY_AFTER, min(RETRY_STALE_AFTER, left))
            detail = self._failure or " ".join(self._kept.notes)
            took = decision_log.milliseconds(since)
            decision_log.write_keys(detail, refresh_failures=int(self._failure != ""), refresh_ms=took)
        age = self._now() - self._fetched
        if self._failure and age > self._usable_for:
            raise KeysUnavailable(self._failure)
        return self._kept._replace(age=age, failure=self._failure or None)
