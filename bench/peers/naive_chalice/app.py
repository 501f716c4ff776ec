"""A peer: an authorizer as Chalice's documentation shows one, with PyJWT."""

import json
import os

import boto3
import jwt
from chalice import AuthResponse, Chalice

app = Chalice(app_name="naive")
secret = None


def key():
    global secret
    if secret is None:
        answer = boto3.client("secretsmanager").get_secret_value(SecretId=os.environ["JWT_SECRET_ID"])
        secret = json.loads(answer["SecretString"])["my_secret_key"]
    return secret


class Unauthorized(Exception):
    pass


@app.authorizer()
def jwt_authorizer(request):
    try:
        claims = jwt.decode(request.token, key(), algorithms=["HS256"], options={"require": ["exp", "sub"]})
    except jwt.InvalidTokenError:
        raise Unauthorized("Unauthorized") from None
    allowed = set(claims.get("roles", [])) & {"user", "admin"}
    return AuthResponse(routes=["/items"] if allowed else [], principal_id=claims["sub"])


@app.route("/items", methods=["GET"], authorizer=jwt_authorizer)
def read():
    return {}
