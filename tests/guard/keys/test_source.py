"""How long keys are kept, when they are fetched again, and how long old ones serve on; the clocks are the test's."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.guard.decision import KeysUnavailable
from chalicelib.guard.keys.source import CachedKeys, KeySet, Revocations, hmac_keys
from tests.support.tokens import SECRET

Log = Callable[[], list[dict[str, Any]]]


class Source:
    """A place that keys come from, which can fail; it counts how often it is asked. `now` moves both clocks."""

    def __init__(self) -> None:
        self.now, self.fetches, self.version = 0.0, 0, "v1"
        self.revocations = Revocations()
        self.failure: Exception | None = None
        self.monotonic, self.wall = 1000.0, 1_800_000_000.0  # what the clocks show beside `now`
        self.slow = 0.0  # seconds that a fetch takes
        self.cached = CachedKeys(self.fetch, ttl=300, max_stale=3600, clocks=self.clocks)

    def clocks(self) -> tuple[float, float]:
        return self.monotonic + self.now, self.wall + self.now

    def fetch(self) -> KeySet:
        self.fetches += 1
        self.now += self.slow
        if self.failure is not None:
            raise self.failure
        return KeySet(hmac_keys(SECRET, self.version, ["HS256"], "the test's secret"), self.revocations)

    def versions(self) -> list[str | None]:
        return [key.id for key in self.cached.current().keys]

    @property
    def down(self) -> bool:
        return self.failure is not None

    @down.setter
    def down(self, value: bool) -> None:
        self.failure = KeysUnavailable("the source is down") if value else None


@pytest.fixture
def source() -> Source:
    return Source()


def test_keys_are_fetched_once_and_then_kept_for_their_time(source: Source) -> None:
    for source.now in (0, 1, 299.875):
        assert source.versions() == ["v1"]
    assert source.fetches == 1
    assert source.cached.current().age == 299.875


def test_the_log_has_how_long_a_fetch_took_in_milliseconds(
    source: Source, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chalicelib.guard.keys.source.perf_counter", iter([7.0, 8.2345678]).__next__)
    source.versions()
    assert log()[0]["refresh_ms"] == 1234.568


def test_after_their_time_they_are_fetched_again(source: Source) -> None:
    source.versions()
    source.now, source.version = 300, "v2"
    assert source.versions() == ["v2"]
    assert source.cached.current().age == 0


def test_while_the_source_is_down_the_old_keys_serve_on_and_say_why(source: Source) -> None:
    source.versions()
    source.down = True
    for source.now in (300, 1000, 3900):
        served = source.cached.current()
        assert [key.id for key in served.keys] == ["v1"]
        assert (served.age, served.failure) == (source.now, "the source is down")


def test_old_keys_do_not_serve_for_ever(source: Source) -> None:
    source.versions()
    source.down, source.now = True, 3900.1
    with pytest.raises(KeysUnavailable, match="the source is down"):
        source.cached.current()


def test_a_source_that_is_down_is_not_asked_at_every_request(source: Source) -> None:
    source.versions()
    source.down = True
    for source.now in range(300, 400):
        source.versions()
    assert source.fetches == 1 + 4  # at 300, 330, 360 and 390


def test_a_source_that_recovers_is_noticed(source: Source) -> None:
    source.versions()
    source.down, source.now = True, 300
    source.versions()
    source.down, source.version, source.now = False, "v2", 330
    assert source.versions() == ["v2"]
    assert source.cached.current().failure is None


def test_a_source_that_recovers_when_no_key_serves_is_noticed_soon(source: Source) -> None:
    source.versions()
    source.down, source.now = True, 3895
    assert source.versions() == ["v1"]  # for five seconds more
    source.now = 3899
    assert source.versions() == ["v1"]
    assert source.fetches == 2  # none in between: it was down just now
    source.now = 3900.1
    with pytest.raises(KeysUnavailable):
        source.cached.current()
    source.down = False
    for source.now in (3901, 3903):
        with pytest.raises(KeysUnavailable):
            source.cached.current()
    source.now = 3903.2
    assert source.versions() == ["v1"]


def test_a_failed_first_fetch_waits_some_seconds_before_the_next(source: Source) -> None:
    source.down = True
    for source.now in (0, 1, 2.9):
        with pytest.raises(KeysUnavailable, match="the source is down"):
            source.cached.current()
    assert source.fetches == 1
    source.down, source.now = False, 3
    assert source.versions() == ["v1"]


def test_an_early_refresh_comes_at_once_and_then_once_in_thirty_seconds(source: Source) -> None:
    source.versions()
    source.version = "v2"
    fresh = source.cached.refreshed()
    assert fresh is not None
    assert [key.id for key in fresh.keys] == ["v2"]
    for source.now in range(1, 30):
        assert source.cached.refreshed() is None
    assert source.fetches == 2
    source.now = 30
    assert source.cached.refreshed() is not None
    assert source.fetches == 3


def test_a_flood_of_tokens_that_no_key_fits_is_no_flood_of_fetches(source: Source) -> None:
    source.versions()
    for request in range(2000):
        source.now = request / 100
        source.cached.refreshed()
    assert source.fetches == 2


def test_an_early_refresh_that_fails_leaves_the_keys_as_they_were(source: Source) -> None:
    source.versions()
    source.down = True
    kept = source.cached.refreshed()
    assert kept is not None
    assert ([key.id for key in kept.keys], kept.failure) == (["v1"], "the source is down")


# Clocks that do not go as they should. In a frozen Lambda environment the monotonic one may stop.


def test_keys_age_by_the_wall_clock_while_the_monotonic_one_is_stopped(source: Source) -> None:
    source.versions()
    source.version = "v2"
    source.wall += 299
    assert (source.versions(), source.cached.current().age) == (["v1"], 299)
    source.wall += 1
    assert source.versions() == ["v2"]


def test_old_keys_end_by_the_wall_clock_if_the_monotonic_one_stops(source: Source) -> None:
    source.versions()
    source.down = True
    source.wall += 3900
    assert source.versions() == ["v1"]
    source.wall += 0.1
    with pytest.raises(KeysUnavailable):
        source.cached.current()


@pytest.mark.parametrize("back", [1, 299, 10_000])
def test_a_wall_clock_that_is_set_back_makes_no_key_younger(source: Source, back: float) -> None:
    source.versions()
    source.version = "v2"
    source.now = 200
    assert source.versions() == ["v1"]
    source.wall -= back
    assert source.cached.current().age == 200
    source.now = 300
    assert source.versions() == ["v2"]


def test_a_wall_clock_set_back_after_a_freeze_makes_no_key_younger(source: Source) -> None:
    source.versions()
    source.wall += 200  # frozen
    assert source.cached.current().age == 200
    source.wall -= 200  # corrected
    source.version = "v2"
    source.now = 100
    assert source.versions() == ["v2"]


def test_a_wall_clock_set_back_while_the_other_stops_ages_keys(source: Source) -> None:
    source.versions()
    source.wall += 200
    assert source.cached.current().age == 200
    source.wall -= 150
    assert source.cached.current().age == 200


@pytest.mark.parametrize("jump", [-10_000, 0, 10_000])
@pytest.mark.parametrize("clock", ["monotonic", "wall"])
def test_no_jump_of_a_clock_delays_a_retry_or_an_early_refresh(source: Source, clock: str, jump: float) -> None:
    source.versions()
    source.cached.refreshed()
    source.down, source.now = True, 300
    source.versions()
    assert source.fetches == 3
    setattr(source, clock, getattr(source, clock) + jump)
    source.down, source.version, source.now = False, "v2", 330
    assert source.versions() == ["v2"]
    source.version = "v3"
    fresh = source.cached.refreshed()
    assert fresh is not None
    assert [key.id for key in fresh.keys] == ["v3"]


@pytest.mark.parametrize("clock", ["monotonic", "wall"])
def test_a_stopped_clock_delays_neither_a_retry_nor_an_early_refresh(source: Source, clock: str) -> None:
    source.down = True
    with pytest.raises(KeysUnavailable):
        source.cached.current()
    source.down = False
    setattr(source, clock, getattr(source, clock) + 3)
    assert source.versions() == ["v1"]
    source.cached.refreshed()
    setattr(source, clock, getattr(source, clock) + 29)
    assert source.cached.refreshed() is None
    setattr(source, clock, getattr(source, clock) + 1)
    assert source.cached.refreshed() is not None


def test_keys_are_as_old_as_the_question_that_they_answer(source: Source) -> None:
    source.slow = 5
    assert source.cached.current().age == 5


def test_keys_that_came_slowly_are_fetched_again_no_later(source: Source) -> None:
    source.slow = 5
    source.versions()
    source.now, source.slow = 300, 0
    source.versions()
    assert source.fetches == 2


def test_a_fetch_that_fails_slowly_is_not_repeated_at_once(source: Source) -> None:
    source.slow, source.down = 5, True
    for _ in range(3):
        with pytest.raises(KeysUnavailable):
            source.cached.current()
    assert source.fetches == 1


# A refresh that fails in a way that nobody thought of.


class Odd(Exception):
    """What no caller expects. Its text may be anything, a secret too."""


def test_whatever_a_refresh_raises_the_old_keys_serve_on_and_say_where(source: Source) -> None:
    source.versions()
    source.failure = Odd(SECRET)
    for source.now in range(300, 400):
        served = source.cached.current()
        assert [key.id for key in served.keys] == ["v1"]
        assert re.fullmatch("Odd in fetch, line [0-9]+", served.failure or "")
    assert source.fetches == 1 + 4


def test_whatever_an_early_refresh_raises_the_old_keys_serve_on(source: Source) -> None:
    source.versions()
    source.failure = Odd(SECRET)
    kept = source.cached.refreshed()
    assert kept is not None
    assert [key.id for key in kept.keys] == ["v1"]


def test_without_older_keys_whatever_is_raised_is_keys_unavailable(source: Source) -> None:
    source.failure = Odd(SECRET)
    for source.now in (0, 1, 2.9):
        with pytest.raises(KeysUnavailable, match=r"^Odd in fetch, line [0-9]+$") as raised:
            source.cached.current()
        assert SECRET not in "".join(traceback.format_exception(raised.value))
    assert source.fetches == 1
    source.failure, source.now = None, 3
    assert source.versions() == ["v1"]


def test_too_old_keys_do_not_serve_whatever_is_raised(source: Source) -> None:
    source.versions()
    source.failure, source.now = Odd(SECRET), 3900.1
    with pytest.raises(KeysUnavailable, match=r"^Odd in fetch, line [0-9]+$"):
        source.cached.current()


# What the log says.


def test_the_line_of_a_fetch_holds_what_there_is_to_know(log: Log) -> None:
    cached = CachedKeys(lambda: KeySet((), notes=("one thing.", "another.")), 300, 3600)
    cached.current()
    (line,) = log()
    assert (line["refresh_failures"], line["detail"]) == (0, "one thing. another.")
