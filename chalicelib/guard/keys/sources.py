"""Where keys come from, as the settings choose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from chalicelib.guard import decision_log
from chalicelib.guard.keys import jwks, secrets_manager
from chalicelib.guard.keys.cache import CachedKeys, KeysUnavailable
from chalicelib.guard.keys.secret import hmac_keys
from chalicelib.guard.settings import Settings
from chalicelib.guard.tokens import Key


def fetch(settings: Settings, note: Callable[[str], None] = decision_log.note) -> Sequence[Key]:
    """Return the keys that verify now, newest first; KeysUnavailable if there are none. `note` takes what else to say."""
    if settings.jwks_url is not None:
        return jwks.fetch(settings)
    if settings.local_secret is not None:
        return hmac_keys(settings.local_secret, None, settings.requirements.algorithms, "AUTHORIZER_SECRET")
    return secrets_manager.fetch(settings, note)


def key_source(settings: Settings) -> CachedKeys:
    """Return the keys, kept for a while. The log tells of each time that they are fetched from somewhere else."""
    refresh = partial(fetch if settings.local_secret is not None else _logged_fetch, settings)
    return CachedKeys(refresh, settings.key_ttl, settings.key_max_stale)


def _logged_fetch(settings: Settings) -> Sequence[Key]:
    since = decision_log.started()
    try:
        keys = fetch(settings)
    except KeysUnavailable as trouble:
        decision_log.record_refresh(since, str(trouble))
        raise
    decision_log.record_refresh(since)
    return keys
