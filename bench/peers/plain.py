"""A peer: what a careful person writes by hand, with PyJWT and boto3. The secret is kept for 300 s."""

import json
import os
import time

import boto3
import jwt

client = boto3.client("secretsmanager")
secret, fetched = "", float("-inf")
ALLOWED = {"user": ["GET"], "admin": ["GET", "POST"]}


def key():
    global secret, fetched
    if time.monotonic() - fetched > 300:
        answer = client.get_secret_value(SecretId=os.environ["JWT_SECRET_ID"])
        secret, fetched = json.loads(answer["SecretString"])["my_secret_key"], time.monotonic()
    return secret


def handler(event, context):
    try:
        token = event["authorizationToken"].removeprefix("Bearer ")
        claims = jwt.decode(token, key(), algorithms=["HS256"], options={"require": ["exp", "sub"]})
    except jwt.InvalidTokenError:
        raise Exception("Unauthorized") from None
    stage = "/".join(event["methodArn"].split("/")[:2])
    methods = sorted({method for role in claims.get("roles", []) for method in ALLOWED.get(role, [])})
    resources = [f"{stage}/{method}/items" for method in methods]
    statement = {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": resources}
    if not resources:
        statement |= {"Effect": "Deny", "Resource": [f"{stage}/*"]}
    return {"principalId": claims["sub"], "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}}
