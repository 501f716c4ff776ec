"""Where keys come from, as the settings choose."""

from __future__ import annotations

from functools import partial

from chalicelib import jwks, secrets_manager
from chalicelib.keys import CachedKeys
from chalicelib.secret import hmac_keys
from chalicelib.settings import Settings


def key_source(settings: Settings) -> CachedKeys:
    if settings.jwks_url is not None:
        fetch = partial(jwks.fetch, settings)
    elif settings.local_secret is not None:
        algorithms = settings.requirements.algorithms
        fetch = partial(hmac_keys, settings.local_secret, None, algorithms, "AUTHORIZER_SECRET")
    else:
        fetch = partial(secrets_manager.fetch, settings)
    return CachedKeys(fetch, settings.key_ttl, settings.key_max_stale)
