"""JSON Web Tokens and roles in front of a Chalice app: the engine. Replace this folder as a whole to upgrade."""

# `Guard` goes into app.py, `PUBLIC` and `OWNER` into the table, `caller_of` into views.

from collections.abc import Callable
from typing import Any

from chalice.app import AuthRequest, Chalice, ChaliceAuthorizer, CORSConfig, Request, Response

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
        self._origin = settings.allowed_origin()
        if self._origin is not None:
            # Chalice names `Authorization` to pages and allows no cookies: a page can do what the token's holder can.
            app.api.cors = CORSConfig(allow_origin=self._origin, max_age=3600)
        app.register_middleware(self._check, "http")

    def authorize(self, request: AuthRequest) -> dict[str, Any]:
        """Return what the authorizer answers API Gateway: the caller and a policy for the whole API."""
        return self._authorizer.authorize(request.token, request.method_arn)

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

    def _check(self, request: Request | None, get_response: Callable[[Request], Response]) -> Response:
        response = middleware.check(request, get_response, self.app, self.table)
        if self._origin is not None:  # Chalice adds it to what a view answers, but not to what a middleware does
            response.headers["Access-Control-Allow-Origin"] = self._origin
            response.headers["Access-Control-Expose-Headers"] = "WWW-Authenticate"
        return response
