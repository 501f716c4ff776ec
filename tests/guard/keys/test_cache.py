"""How long keys are kept, when they are fetched anew, and how long old ones serve on; the clock is the test's."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from chalicelib.guard.keys.cache import CachedKeys, KeysUnavailable
from chalicelib.guard.keys.secret import hmac_keys
from chalicelib.guard.tokens import Key
from tests.conftest import SECRET


class Source:
    """A place that keys come from, which can fail; it counts how often it is asked."""

    def __init__(self) -> None:
        self.now, self.fetches, self.down, self.version = 0.0, 0, False, "v1"
        self.cached = CachedKeys(self.fetch, ttl=300, max_stale=3600, clock=lambda: self.now)

    def fetch(self) -> Sequence[Key]:
        self.fetches += 1
        if self.down:
            raise KeysUnavailable("the source is down")
        return hmac_keys(SECRET, self.version, ["HS256"], "the test's secret")

    def versions(self) -> list[str | None]:
        return [key.id for key in self.cached.current().keys]


@pytest.fixture
def source() -> Source:
    return Source()


def test_keys_are_fetched_once_and_then_kept_for_their_time(source: Source) -> None:
    for source.now in (0, 1, 299.9):
        assert source.versions() == ["v1"]
    assert source.fetches == 1
    assert source.cached.current().age == 299.9


def test_after_their_time_they_are_fetched_anew(source: Source) -> None:
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
        assert (served.age, served.trouble) == (source.now, "the source is down")


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
    assert source.cached.current().trouble is None


def test_a_source_that_recovers_when_no_key_serves_any_more_is_noticed_within_seconds(source: Source) -> None:
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


def test_the_first_early_refresh_comes_at_once_and_later_ones_once_in_thirty_seconds(source: Source) -> None:
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
    assert ([key.id for key in kept.keys], kept.trouble) == (["v1"], "the source is down")
