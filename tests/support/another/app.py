"""A clinic's API: what somebody writes in place of the sample."""

from __future__ import annotations

from typing import Any

from chalice.app import AuthRequest, Chalice

from chalicelib.guard import Guard, caller_of
from chalicelib.patients import patients
from chalicelib.rules import RULES

app = Chalice(app_name="clinic")
guard = Guard(app, RULES)
rotate_secret = guard.rotation()


@app.authorizer(ttl_seconds=60)
def jwt_authorizer(request: AuthRequest) -> dict[str, Any]:
    return guard.authorize(request)


@app.route("/opening-hours", methods=["GET"])
def opening_hours() -> dict[str, Any]:
    return {"monday": "8 to 18"}


@app.route("/rota", methods=["PUT"])
def change_rota() -> dict[str, Any]:
    return {"changed_by": caller_of(app.current_request).subject}


app.register_blueprint(patients, url_prefix="/patients")
guard.protect(jwt_authorizer)
