"""The gateway lock: what the Lambda authorizer answers API Gateway."""

from __future__ import annotations

import gc
import time
import traceback
from functools import cache, lru_cache
from typing import Any

from chalicelib import rules
from chalicelib.guard import decision_log, policy, settings, tokens
from chalicelib.guard.caller import Caller, to_context
from chalicelib.guard.keys import cache as keys
from chalicelib.guard.keys import sources
from chalicelib.guard.reason import Reason

try:
    from chalice.local import InvalidAuthorizerError, NotAuthorizedError
except ImportError:  # Lambda has only Chalice's runtime; there any exception will do
    NotAuthorizedError = InvalidAuthorizerError = Exception  # type: ignore[misc, assignment]  # base classes only


class Unauthorized(NotAuthorizedError):
    """The client's fault, a 401: API Gateway knows it by its text, `chalice local` by the base class."""

    def __init__(self) -> None:
        challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        super().__init__(_local_headers("UnauthorizedException") | challenge, b'{"message":"Unauthorized"}')

    def __str__(self) -> str:
        return "Unauthorized"


class AuthorizerFailure(InvalidAuthorizerError):
    """Our own trouble, a 500: API Gateway keeps no answer for it, so it ends when the trouble does."""

    def __init__(self) -> None:
        message = b'{"message":"Internal Server Error"}'
        super().__init__(_local_headers("AuthorizerConfigurationException"), message)

    def __str__(self) -> str:
        return "The authorizer failed; its log says why"


def _local_headers(error_type: str) -> dict[str, str]:
    """Return what `chalice local` answers with; on AWS the gateway responses of the API do."""
    origin = settings.allowed_origin()
    return {"x-amzn-ErrorType": error_type} | ({"Access-Control-Allow-Origin": origin} if origin else {})


@cache
def key_source() -> keys.CachedKeys:
    return sources.key_source(settings.current())


def prepare() -> None:
    """Fetch the keys before the first request comes, while Lambda gives a starting function its full processor.

    Raises nothing: what is wrong here is tried again, and told, when a request comes.
    """
    gc.disable()  # the collector finds nothing to free in what is all kept, now or later
    try:
        key_source().current()
    except Exception:  # noqa: BLE001  # whatever it is, an import that fails would hide it from the decision log
        key_source.cache_clear()
    finally:
        gc.freeze()
        gc.enable()


def authorize(authorization: str, method_arn: str) -> dict[str, Any]:
    """Answer with the caller and a policy for the whole API; raise Unauthorized or AuthorizerFailure."""
    about: dict[str, Any] = {"since": decision_log.started()}
    try:
        stage_arn, method, path = policy.parse_method_arn(method_arn)
        about |= {"method": method, "route": rules.match(method, path)}
        caller = _authenticate(authorization, about)
        permitted, patterns = _patterns(caller.roles & rules.ROLES)
        answer = to_context(caller, rules.ROLES) | {"policyDocument": policy.document(stage_arn, patterns)}
    except tokens.InvalidToken as refusal:
        decision_log.record("gateway", "unauthorized", reason=refusal.reason, kid=refusal.unverified_kid, **about)
        # Neither error carries its cause along: Lambda would log it.
        raise Unauthorized from None
    except Exception as trouble:  # noqa: BLE001  # whatever it is, it must become a 500 and never an Allow or a Deny
        reason, detail = _explain(trouble)
        decision_log.record("gateway", "error", reason=reason, **{**about, "detail": detail})
        raise AuthorizerFailure from None
    # The route that was asked for decides nothing here; the line says what the policy means for it.
    denied = about["route"] not in permitted
    outcome, why = ("deny", Reason.NO_PERMISSION) if denied else ("allow", None)
    decision_log.record("gateway", outcome, reason=why, caller=caller, kid=caller.key_id, **about)
    return answer


@lru_cache(maxsize=256)
def _patterns(known_roles: frozenset[str]) -> tuple[frozenset[rules.Route], policy.Patterns]:
    """Return what these roles permit and the patterns that say so, made once for each set of roles."""
    permitted = rules.permitted(known_roles)
    return permitted, policy.patterns(permitted, rules.RULES)


def _authenticate(authorization: str, about: dict[str, Any]) -> Caller:
    """Verify with the keys at hand; where none fits, once more with keys fetched anew, if that may be done now."""
    requirements, source = settings.current().requirements, key_source()

    def verify(with_keys: keys.KeySet) -> Caller:
        about.update(keys_age=with_keys.age, detail=with_keys.trouble)
        return tokens.verify(authorization, with_keys.keys, requirements, time.time())

    try:
        return verify(source.current())
    except tokens.InvalidToken as refusal:
        fresh = source.refreshed() if refusal.reason in {Reason.UNKNOWN_KEY, Reason.BAD_SIGNATURE} else None
        if fresh is None:
            raise
        return verify(fresh)


def _explain(trouble: Exception) -> tuple[Reason, str]:
    """Return what the log says: of a stranger's exception only its place, for its text may hold a value."""
    if isinstance(trouble, settings.SettingsError):
        return Reason.BAD_SETTING, str(trouble)
    if isinstance(trouble, keys.KeysUnavailable):
        return Reason.KEYS_UNAVAILABLE, str(trouble)
    place = traceback.extract_tb(trouble.__traceback__)[-1]
    return Reason.UNEXPECTED, f"{type(trouble).__name__} in {place.name}, line {place.lineno}"
