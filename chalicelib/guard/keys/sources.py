"""Where keys come from, as the settings choose."""

from chalicelib.guard.keys import jwks, secrets_manager
from chalicelib.guard.keys.cache import KeySet
from chalicelib.guard.settings import Settings


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
