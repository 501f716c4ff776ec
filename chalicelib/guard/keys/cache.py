"""Verification keys, kept for a while: refreshed in time, and served on for a bounded while where they cannot be."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chalicelib.guard.tokens import Key

#: How long a failed fetch is not repeated, in seconds: where no key serves, and while older ones serve on.
RETRY_AFTER = 3.0
RETRY_STALE_AFTER = 30.0
#: An early refresh comes at most once in so many seconds, so that a flood of forged tokens is no flood of calls.
EARLY_REFRESH_EVERY = 30.0


class KeysUnavailable(Exception):
    """No key can be had. The text names the mend and never a secret's value."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """Keys that verify now, newest first; their `age` in seconds; and why they could not be refreshed, if so."""

    keys: Sequence[Key]
    age: float
    failure: str | None


class CachedKeys:
    """What `fetch` returns, kept for `ttl` seconds, and for `max_stale` more while `fetch` raises KeysUnavailable."""

    def __init__(
        self,
        fetch: Callable[[], Sequence[Key]],
        ttl: float,
        max_stale: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch, self._ttl, self._max_stale, self._clock = fetch, ttl, max_stale, clock
        self._lock = threading.Lock()
        self._keys: Sequence[Key] = ()
        self._trouble: KeysUnavailable | None = None
        self._fetched = self._next_fetch = self._next_early = -float("inf")

    def current(self) -> KeySet:
        """Return the keys; raise KeysUnavailable where there are none, or none that is fresh enough."""
        with self._lock:
            if self._clock() >= self._next_fetch:
                self._refresh()
            return self._usable()

    def refreshed(self) -> KeySet | None:
        """Return the keys fetched anew, for a token that none of them fits; None where that was done just now."""
        with self._lock:
            if self._clock() < self._next_early:
                return None
            self._next_early = self._clock() + EARLY_REFRESH_EVERY
            self._refresh()
            return self._usable()

    def _refresh(self) -> None:
        try:
            self._keys, self._trouble = self._fetch(), None
            self._fetched = self._clock()
            self._next_fetch = self._fetched + self._ttl
        except KeysUnavailable as trouble:
            self._trouble = trouble
            now = self._clock()
            left = self._fetched + self._ttl + self._max_stale - now  # for so long the older keys serve on
            self._next_fetch = now + max(RETRY_AFTER, min(RETRY_STALE_AFTER, left))

    def _usable(self) -> KeySet:
        age = self._clock() - self._fetched
        if self._trouble is not None and not (self._keys and age <= self._ttl + self._max_stale):
            raise KeysUnavailable(str(self._trouble))
        return KeySet(self._keys, age, None if self._trouble is None else str(self._trouble))
