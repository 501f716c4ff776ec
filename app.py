"""Your routes, and the lines that put the guard in front of them. Who may call what is in chalicelib/rules.py."""

import json
from typing import Any

from chalice.app import AuthRequest, BadRequestError, Chalice, Response

from chalicelib.guard import Guard, caller_of
from chalicelib.rules import RULES

app = Chalice(app_name="api-guard")
guard = Guard(app, RULES)
rotate_secret = guard.rotation()  # a function that Secrets Manager calls, in stages that set JWT_ROTATION_DAYS


@app.authorizer(ttl_seconds=300)  # for so long API Gateway reuses the answer for a token: 0 to 3600
def jwt_authorizer(request: AuthRequest) -> dict[str, Any]:
    return guard.authorize(request)


@app.route("/protected-resource", methods=["GET"])
def read_protected_resource() -> dict[str, Any]:
    caller = caller_of(app.current_request)
    return {"message": "You may read this.", "subject": caller.subject, "roles": sorted(caller.roles)}


#: Lambda takes 6 MB in all and API Gateway 10 MB; an API that needs more than this wants S3.
MAX_BODY_BYTES = 1024 * 1024


@app.route("/protected-resource", methods=["POST"])
def write_protected_resource() -> Response:
    body: bytes = getattr(app.current_request, "raw_body", b"")
    if len(body) > MAX_BODY_BYTES:
        return Response({"message": f"The body is larger than {MAX_BODY_BYTES} bytes."}, status_code=413)
    try:
        text = json.dumps(json.loads(body.decode()), allow_nan=False)  # NaN and 1e999 parse, but are no JSON
    except (ValueError, RecursionError):
        raise BadRequestError("The body is not JSON.") from None
    # As text, because Chalice would send a JSON string without its quotes.
    return Response(text, headers={"Content-Type": "application/json"})


guard.protect(jwt_authorizer)  # last, when every route is known
