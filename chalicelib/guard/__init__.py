"""JSON Web Tokens and roles in front of a Chalice app: the engine. Replace this folder as a whole to upgrade."""

# `Guard` goes into app.py, `PUBLIC` and `OWNER` into the table, `caller_of` into views.

import time
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

from chalice.app import AuthRequest, Chalice, ChaliceAuthorizer, CORSConfig

from chalicelib.guard import decision_log, middleware, policy, settings
from chalicelib.guard.access import OWNER, PUBLIC, Route, Rules, Table, TableError
from chalicelib.guard.authorizer import AuthorizerError, answer, decide, failed, granted
from chalicelib.guard.decision import Caller, Decision, Outcome, Reason
from chalicelib.guard.keys.source import CachedKeys, fetch
from chalicelib.guard.middleware import caller_of

__version__ = "2.0.0"
__all__ = ["OWNER", "PUBLIC", "Caller", "Guard", "Rules", "TableError", "caller_of"]


class Guard:
    """Puts the authorizer and the middleware in front of an app, as its table says."""

    def __init__(self, app: Chalice, rules: Rules) -> None:
        self.app, self.table = app, Table(rules)
        if origin := settings.ENVIRONMENT.get("CORS_ALLOWED_ORIGIN"):
            # Chalice names `Authorization` to pages and allows no cookies: a page can do what the token's holder can.
            app.api.cors = CORSConfig(origin, expose_headers=["WWW-Authenticate"], max_age=3600)
        app.register_middleware(partial(middleware.check, app=app, table=self.table), "http")

    def authorize(self, request: AuthRequest) -> dict[str, Any]:
        """Return what API Gateway is answered: the caller and a policy for the whole API; or raise AuthorizerError."""
        since, route, answered = time.perf_counter(), None, None
        try:
            stage_arn, method, path = policy.parse_method_arn(request.method_arn)
            route = self.table.match(method, path)
            decision = self._decide(request.token, route)
            if decision.caller is not None and decision.outcome is not Outcome.UNAUTHORIZED:
                answered = answer(decision.caller, self.table, stage_arn)
        except Exception as error:  # noqa: BLE001  # whatever it is, it must become a 500 and never an Allow or a Deny
            decision = failed(error, route)
        decision_log.write("authorizer", decision, since, self.table.roles)
        if answered is None:  # API Gateway caches no 401 and no 500. The error has no cause, which Lambda would log
            refused = decision.outcome is Outcome.UNAUTHORIZED
            raise AuthorizerError("Unauthorized" if refused else "Internal Server Error")
        return answered

    def rotation(self) -> Callable[..., Any] | None:
        """Declare the function `rotate_secret` if JWT_ROTATION_DAYS is set for the stage; app.py must name it so."""
        if not settings.ENVIRONMENT.get("JWT_ROTATION_DAYS"):
            return None
        from chalicelib.guard.rotation import rotate_secret  # for this function alone

        return self.app.lambda_function()(rotate_secret)  # type: ignore[no-any-return]  # untyped

    def protect(self, authorizer: ChaliceAuthorizer) -> None:
        """Put `authorizer` in front of every route that is not PUBLIC. Call it after all routes are registered."""
        # A route that is registered later is closed: the middleware refuses it for want of a caller.
        for template, methods in self.app.routes.items():
            for method, entry in methods.items():
                if entry.authorizer is None and self.table.rules.get((method, template)) != PUBLIC:
                    entry.authorizer = authorizer  # type: ignore[assignment]  # Chalice takes its own class here
        if settings.ENVIRONMENT.get("_HANDLER") != authorizer.config.handler_string:
            return
        # This process is the authorizer's, in Lambda. What every first request needs is done while it starts, when
        # Lambda gives it its full processor.
        for role in self.table.roles:
            granted(self.table, frozenset({role}))
        try:
            self._source[1].current()
        except Exception:  # noqa: BLE001  # an import that fails would hide it from the decision log
            vars(self).pop("_source", None)  # so that the first request asks again, and logs what failed

    @cached_property
    def _source(self) -> tuple[settings.Settings, CachedKeys]:
        # Read at the first use, and kept.
        wanted = settings.from_environment()
        return wanted, CachedKeys(partial(fetch, wanted), wanted.key_ttl, wanted.key_max_stale)

    def _decide(self, header: str, route: Route | None) -> Decision:
        # On an unknown key or bad signature, refresh once (rate-limited) and retry.
        wanted, keys = self._source
        decision = decide(header, route, self.table, keys.current(), wanted, time.time())
        if decision.reason in (Reason.UNKNOWN_KEY, Reason.BAD_SIGNATURE) and (fresh := keys.refreshed()):
            return decide(header, route, self.table, fresh, wanted, time.time())
        return decision
