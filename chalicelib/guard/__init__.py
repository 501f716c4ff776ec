"""JSON Web Tokens and roles in front of a Chalice app: the engine. Replace this folder as a whole to upgrade."""

# `Guard` goes into app.py, `PUBLIC` and `OWNER` into the table, `caller_of` into views.

from collections.abc import Callable
from functools import partial
from typing import Any

from chalice.app import Chalice, ChaliceAuthorizer, CORSConfig

from chalicelib.guard import middleware, settings
from chalicelib.guard.access import OWNER, PUBLIC, Rules, Table, TableError
from chalicelib.guard.authorizer import Authorizer
from chalicelib.guard.caller import Caller
from chalicelib.guard.middleware import caller_of

__version__ = "2.0.0"
__all__ = ["OWNER", "PUBLIC", "Caller", "Guard", "Rules", "TableError", "caller_of"]


class Guard:
    """Puts the authorizer and the middleware in front of an app, as its table says."""

    def __init__(self, app: Chalice, rules: Rules) -> None:
        self.app, self.table = app, Table(rules)
        self._authorizer = Authorizer(self.table)
        self.authorize = self._authorizer.authorize
        if origin := settings.allowed_origin():
            # Chalice names `Authorization` to pages and allows no cookies: a page can do what the token's holder can.
            app.api.cors = CORSConfig(origin, expose_headers=["WWW-Authenticate"], max_age=3600)
        app.register_middleware(partial(middleware.check, app=app, table=self.table), "http")

    def rotation(self) -> Callable[..., Any] | None:
        """Declare the function `rotate_secret` if JWT_ROTATION_DAYS is set for the stage; app.py must name it so."""
        if not settings.ENVIRONMENT.get("JWT_ROTATION_DAYS"):
            return None
        from chalicelib.guard.rotation import rotate_secret  # for this function alone

        return self.app.lambda_function(name="rotate_secret")(rotate_secret)  # type: ignore[no-any-return]  # untyped

    def protect(self, authorizer: ChaliceAuthorizer) -> None:
        """Put `authorizer` in front of every route that is not PUBLIC. Call it after all routes are registered."""
        # A route that is registered later is closed: the middleware refuses it for want of a caller.
        for template, methods in self.app.routes.items():
            for method, entry in methods.items():
                if entry.authorizer is None and self.table.rules.get((method, template)) != PUBLIC:
                    entry.authorizer = authorizer  # type: ignore[assignment]  # Chalice takes its own class here
        # This process is the authorizer's, in Lambda.
        if settings.ENVIRONMENT.get("_HANDLER") == authorizer.config.handler_string:
            self._authorizer.prepare()
