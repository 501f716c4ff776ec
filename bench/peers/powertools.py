"""A peer: Powertools for AWS Lambda, its data classes for the event and the answer, its parameters for the secret."""

import os

import jwt
from aws_lambda_powertools.utilities import parameters
from aws_lambda_powertools.utilities.data_classes import event_source
from aws_lambda_powertools.utilities.data_classes.api_gateway_authorizer_event import (
    APIGatewayAuthorizerResponse,
    APIGatewayAuthorizerTokenEvent,
)

ALLOWED = {"user": ["GET"], "admin": ["GET", "POST"]}


@event_source(data_class=APIGatewayAuthorizerTokenEvent)
def handler(event, context):
    secret = parameters.get_secret(os.environ["JWT_SECRET_ID"], transform="json", max_age=300)["my_secret_key"]
    try:
        token = event.authorization_token.removeprefix("Bearer ")
        claims = jwt.decode(token, secret, algorithms=["HS256"], options={"require": ["exp", "sub"]})
    except jwt.InvalidTokenError:
        raise Exception("Unauthorized") from None
    arn = event.parsed_arn
    answer = APIGatewayAuthorizerResponse(
        principal_id=claims["sub"],
        region=arn.region,
        aws_account_id=arn.aws_account_id,
        api_id=arn.api_id,
        stage=arn.stage,
        partition=arn.partition,
    )
    methods = {method for role in claims.get("roles", []) for method in ALLOWED.get(role, [])}
    for method in sorted(methods):
        answer.allow_route(http_method=method, resource="/items")
    if not methods:
        answer.deny_all_routes()
    return answer.asdict()
