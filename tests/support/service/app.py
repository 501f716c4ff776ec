"""The engine's own service: what its tests, in one process and deployed, run on. No sample, so nobody edits it."""

from __future__ import annotations

from typing import Any

from chalice.app import AuthRequest, Chalice

from chalicelib.guard import Guard, caller_of
from chalicelib.reports import reports
from chalicelib.rules import RULES

app = Chalice(app_name="fixture")
guard = Guard(app, RULES)
rotate_secret = guard.rotation()


@app.authorizer(ttl_seconds=300)
def jwt_authorizer(request: AuthRequest) -> dict[str, Any]:
    return guard.authorize(request)


@app.route("/items", methods=["GET"])
def read_items() -> dict[str, Any]:
    caller = caller_of(app.current_request)
    return {"subject": caller.subject, "roles": sorted(caller.roles), "claims": dict(caller.claims)}


@app.route("/items", methods=["POST"])
def write_items() -> Any:
    assert app.current_request is not None
    return app.current_request.json_body


@app.route("/users/{sub}/orders", methods=["GET"])
def read_orders(sub: str) -> dict[str, Any]:
    return {"of": sub, "subject": caller_of(app.current_request).subject}


@app.route("/health", methods=["GET"])
def health() -> dict[str, Any]:
    return {"up": True}


app.register_blueprint(reports)
guard.protect(jwt_authorizer)
