"""Where keys come from, as the settings choose."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from chalicelib.guard import decision_log
from chalicelib.guard.keys import jwks, secrets_manager
from chalicelib.guard.keys.cache import CachedKeys, described
from chalicelib.guard.keys.secret import hmac_keys
from chalicelib.guard.settings import Settings
from chalicelib.guard.tokens import Key


def fetch(settings: Settings) -> Sequence[Key]:
    """Return the keys that verify now, newest first; KeysUnavailable, or what was not expected, if there are none."""
    if settings.jwks_url is not None:
        return jwks.fetch(settings)
    if settings.local_secret is not None:
        return hmac_keys(settings.local_secret, None, settings.requirements.algorithms, "AUTHORIZER_SECRET")
    return secrets_manager.fetch(settings)


def key_source(settings: Settings) -> CachedKeys:
    """Return the keys, kept for a while. The log has a line for each time that they are fetched from elsewhere."""
    refresh = partial(fetch if settings.local_secret is not None else _logged_fetch, settings)
    return CachedKeys(refresh, settings.key_ttl, settings.key_max_stale)


def _logged_fetch(settings: Settings) -> Sequence[Key]:
    since = decision_log.started()
    try:
        keys = fetch(settings)
    except Exception as error:
        decision_log.record_refresh(since, described(error))
        raise
    decision_log.record_refresh(since)
    return keys
