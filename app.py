"""The routes, and who stands in front of them. Who may call what is in chalicelib/rules.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from chalice.app import AuthRequest, Chalice, CORSConfig, Request, Response

from chalicelib.body import json_body
from chalicelib.guard import authorizer, middleware, rotation, settings
from chalicelib.guard.keys import secrets_manager

app = Chalice(app_name="api-guard")

#: How long API Gateway keeps the authorizer's answer for a token, in seconds (0 to 3600). 300 is its default:
#: a role that is taken away holds for so long at most, and most requests cost no authorizer at all. A token's
#: expiry is not affected: the handler lock checks it for every request.
AUTHORIZER_TTL = 300

#: The origin whose pages may read the answers, if there is one. `Authorization` is named for every such page;
#: cookies are not, so a page can do no more than a program that has the token.
ORIGIN = settings.allowed_origin()
if ORIGIN is not None:
    app.api.cors = CORSConfig(allow_origin=ORIGIN, max_age=3600)


@app.authorizer(ttl_seconds=AUTHORIZER_TTL)
def jwt_authorizer(request: AuthRequest) -> dict[str, Any]:
    # Deployed functions are known by this name in this file: `chalice deploy` never changes a handler string.
    return authorizer.authorize(request.token, request.method_arn)


@app.lambda_function(name="rotate_secret")
def rotate_secret(event: dict[str, Any], _context: object) -> None:
    # Secrets Manager calls it, where `manage.py secret schedule` has told it to.
    rotation.rotate(event, settings.current(), secrets_manager.client())


@app.middleware("http")
def lock(request: Request, get_response: Callable[[Request], Response]) -> Response:
    response = middleware.guard(app.routes, request, get_response)
    if ORIGIN is not None:  # Chalice adds it to what a view answers, but not to what a middleware does
        response.headers["Access-Control-Allow-Origin"] = ORIGIN
        response.headers["Access-Control-Expose-Headers"] = "WWW-Authenticate"
    return response


@app.route("/protected-resource", methods=["GET"], authorizer=jwt_authorizer)
def read_protected_resource() -> dict[str, Any]:
    caller = middleware.caller_of(app.current_request)
    return {"message": "You may read this.", "subject": caller.subject, "roles": sorted(caller.roles)}


@app.route("/protected-resource", methods=["POST"], authorizer=jwt_authorizer)
def write_protected_resource() -> Response:
    # As text, because Chalice would send a JSON string without its quotes.
    return Response(json.dumps(json_body(app.current_request)), headers={"Content-Type": "application/json"})


if settings.handler() == "app.jwt_authorizer":  # not in the API function, in tests or in `chalice package`
    authorizer.prepare()
