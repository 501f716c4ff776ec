"""What API Gateway sends to the functions."""

from __future__ import annotations

import json
import time
from typing import Any

from chalicelib.guard.decision import MAX_CLAIMS_BYTES

STAGE_ARN = "arn:aws:execute-api:eu-central-1:123456789012:abc123/dev"
ARN = f"{STAGE_ARN}/GET/items"


def token_event(authorization: str, arn: str = ARN) -> dict[str, Any]:
    """Return the authorizer's event."""
    return {"type": "TOKEN", "authorizationToken": authorization, "methodArn": arn}


def context(**changes: Any) -> dict[str, Any]:
    """Return the authorizer's context as API Gateway hands it over, every value as text; `...` takes one out."""
    good = {"principalId": "alice", "roles": "user", "exp": str(int(time.time()) + 60), "integrationLatency": "7"}
    return {name: value for name, value in {**good, **changes}.items() if value is not ...}


def request_event(authorizer: Any, method: str = "GET", path: str = "/items", **parameters: str) -> dict[str, Any]:
    """Return the API function's event. `path` is the route's template; `parameters` as they are in the path."""
    return {
        "requestContext": {
            "httpMethod": method,
            "resourcePath": path,
            "requestId": "request-1",
            "authorizer": authorizer,
        },
        "headers": {},
        "pathParameters": parameters,
        "multiValueQueryStringParameters": None,
        "stageVariables": None,
        "body": None,
    }


#: Contexts of another form than the authorizer gives: for the view it is as if there were no caller.
ODD_CONTEXTS = [
    None,
    {},
    "alice",
    [],
    context(principalId=...),
    context(principalId=""),
    context(principalId=7),
    context(roles=...),
    context(roles=["user"]),
    context(roles=None),
    context(exp=...),
    context(exp=None),
    context(exp=""),
    context(exp="soon"),
    context(exp="1e10"),
    context(exp="-1"),
    context(exp=" 4102444800"),
    context(exp="4_102_444_800"),
    context(exp="4102444800.5"),
    context(exp="\u0664\u0661\u0660\u0662\u0664\u0664\u0664\u0668\u0660\u0660"),
    context(exp="9" * 13),
    context(exp="9" * 5000),
    context(exp=True),
    context(exp=4102444800.5),
    context(caller_claims=None),
    context(caller_claims=""),
    context(caller_claims="tenant"),
    context(caller_claims={"tenant": "acme"}),
    context(caller_claims="null"),
    context(caller_claims='["acme"]'),
    context(caller_claims='{"tenant":7}'),
    context(caller_claims='{"tenant":null}'),
    context(caller_claims='{"tenant":{"a":"b"}}'),
    context(caller_claims='{"tenant":"acme"'),
    context(caller_claims="[" * MAX_CLAIMS_BYTES),
    context(caller_claims=json.dumps({"a": "x" * MAX_CLAIMS_BYTES})),
]
