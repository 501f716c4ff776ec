"""Where keys come from, as the settings choose."""

from functools import partial

from chalicelib.guard import decision_log
from chalicelib.guard.keys import jwks, secrets_manager
from chalicelib.guard.keys.cache import CachedKeys, Fetched, described
from chalicelib.guard.keys.secret import hmac_keys
from chalicelib.guard.settings import Settings


def fetch(settings: Settings) -> Fetched:
    """Return what verifies now; KeysUnavailable, or an unexpected error, if there is nothing."""
    notes: list[str] = []
    if settings.jwks_url is not None:
        keys = jwks.fetch(settings)
    elif settings.local_secret is not None:
        keys = hmac_keys(settings.local_secret, None, settings.requirements.algorithms, "AUTHORIZER_SECRET")
    else:
        keys = secrets_manager.fetch(settings, notes)
    return Fetched(keys, secrets_manager.revocations(settings, notes), tuple(dict.fromkeys(notes)))


def key_source(settings: Settings) -> CachedKeys:
    """Return the keys, kept for a while. The log has a line for each time that they are fetched from elsewhere."""
    refresh = partial(fetch if settings.local_secret is not None else _logged_fetch, settings)
    return CachedKeys(refresh, settings.key_ttl, settings.key_max_stale)


def _logged_fetch(settings: Settings) -> Fetched:
    since, failure = decision_log.started(), None
    try:
        fetched = fetch(settings)
    except Exception as error:
        failure = described(error)
        raise
    finally:
        decision_log.record_refresh(since, failure)
    for note in fetched.notes:
        decision_log.note(note)
    return fetched
