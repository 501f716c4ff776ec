"""What API Gateway sends to the functions."""

from __future__ import annotations

import time
from typing import Any

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
