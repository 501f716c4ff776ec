"""What API Gateway itself answers, where no function of ours does: one shape, readable for browsers.

Chalice has no word for it, and each `chalice deploy` takes it away; so it is put after that, or merged into
the template that `chalice package` makes.
"""

from __future__ import annotations

from typing import Any

#: Type of the response: status and message. The two that begin with DEFAULT are for all others and keep their
#: status; their message is API Gateway's. MISSING_AUTHENTICATION_TOKEN is what it says of a path that has no method.
ANSWERS = {
    "UNAUTHORIZED": ("401", "Unauthorized"),
    "ACCESS_DENIED": ("403", "Forbidden"),
    "MISSING_AUTHENTICATION_TOKEN": ("404", "Not Found"),
    "RESOURCE_NOT_FOUND": ("404", "Not Found"),
    "AUTHORIZER_FAILURE": ("500", "Internal Server Error"),
    "AUTHORIZER_CONFIGURATION_ERROR": ("500", "Internal Server Error"),
    "API_CONFIGURATION_ERROR": ("500", "Internal Server Error"),
    "DEFAULT_4XX": (None, None),
    "DEFAULT_5XX": (None, None),
}
#: RFC 6750 section 3.1. A response is fixed, so a request without any token gets the error code as well.
CHALLENGES = {
    "UNAUTHORIZED": 'Bearer error="invalid_token"',
    "ACCESS_DENIED": 'Bearer error="insufficient_scope"',
}


def gateway_responses(origin: str | None) -> dict[str, dict[str, Any]]:
    """Return status (None: as it is), headers and body template of each type. `origin` is CORS_ALLOWED_ORIGIN."""
    made = {}
    for kind, (status, message) in ANSWERS.items():
        headers = {}
        if kind in CHALLENGES:
            headers["WWW-Authenticate"] = CHALLENGES[kind]
        if origin is not None:
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = "WWW-Authenticate"
        body = '{"message":$context.error.messageString}' if message is None else f'{{"message":"{message}"}}'
        made[kind] = {"status": status, "headers": headers, "body": body}
    return made


def put(client: Any, api_id: str, stage: str, origin: str | None) -> None:
    """Make them those of a deployed API, and deploy it again: API Gateway takes them up only then."""
    for kind, answer in gateway_responses(origin).items():
        client.put_gateway_response(
            restApiId=api_id,
            responseType=kind,
            responseParameters={
                f"gatewayresponse.header.{name}": f"'{text}'" for name, text in answer["headers"].items()
            },
            responseTemplates={"application/json": answer["body"]},
            **({"statusCode": answer["status"]} if answer["status"] else {}),
        )
    client.create_deployment(restApiId=api_id, stageName=stage, description="gateway responses")


def as_template(origin: str | None) -> dict[str, Any]:
    """Return them as `chalice package --merge-template` takes them, in the words of AWS SAM."""
    responses = {}
    for kind, answer in gateway_responses(origin).items():
        responses[kind] = {
            "ResponseParameters": {"Headers": {name: f"'{text}'" for name, text in answer["headers"].items()}},
            "ResponseTemplates": {"application/json": answer["body"]},
            **({"StatusCode": answer["status"]} if answer["status"] else {}),
        }
    return {"RestAPI": {"Properties": {"GatewayResponses": responses}}}
