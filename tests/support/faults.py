"""What can break between the authorizer and its keys, and APIs to break it for; tests/e2e/test_faults.py plays it.

Each API has an authorizer of its own, which runs as on AWS: its environment, with the keys that it keeps, goes on
after an answer of 401 or 500.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import secrets
import time
import uuid
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from operations import gateway_responses
from tests.support import aws_runtime
from tests.support.deployed import Deployed
from tests.support.endpoint import Endpoint, Reply, Request, passing_to

ROLE = "faults"


@dataclass
class Api(Deployed):
    """An API whose authorizer gets its keys through `endpoint`. `sign` makes a token of claims, or forges one."""

    names: dict[str, dict[str, str]] = field(default_factory=dict)
    endpoint: Endpoint = field(default_factory=lambda: Endpoint(lambda _: Reply(404, b"")))
    sign: Callable[[Mapping[str, Any], bool], str] = lambda _claims, _forged: ""
    impostors_keys: bytes = b""  # with which the forged tokens would be valid

    @property
    def resources(self) -> dict[str, dict[str, str]]:
        return self.names

    def minted(self, *roles: str, forged: bool = False, **changes: Any) -> str:
        """Return a token that no request has used."""
        claims = {"sub": "alice", "roles": list(roles), "exp": int(time.time()) + 600, "jti": str(uuid.uuid4())}
        return self.sign({**claims, **changes}, forged)

    def get(self, token: str) -> tuple[int, Any]:
        answer = self.ask("GET", token)
        return answer.status, answer.json

    def lines(self) -> list[dict[str, Any]]:
        """Return the authorizer's decisions, oldest first; none where it was never invoked, and so has no log."""
        return [line for line in self.decisions("jwt_authorizer") if "check" in line]

    def logged(self, since: int, count: int = 1, **due: Any) -> list[dict[str, Any]]:
        """Return the decisions that are as due among those after the first `since`; there must be so many.

        On a busy machine the embedded Lambda gets hold of a line with the next request only, so one is made.
        """
        for _ in range(5):
            found = [line for line in self.lines()[since:] if all(line.get(name) == due[name] for name in due)]
            if len(found) >= count:
                return found
            time.sleep(0.2)
            self.get(self.minted("user"))
        raise AssertionError(f"{len(found)} lines of {due}: {self.lines()[since:]}")


# How the APIs are made: copies of the one that `manage.py deploy` deployed.


@dataclass(frozen=True)
class Workshop:
    """What the copies are made of."""

    dev: Deployed
    swagger: str
    role: str
    plain: bytes  # the deployment package
    with_cryptography: bytes
    issuer: rsa.RSAPrivateKey
    impostor: rsa.RSAPrivateKey
    stack: contextlib.ExitStack

    def api(self, endpoint: Endpoint, code: bytes, *, own_api_function: bool = False, **variables: str) -> Api:
        names = {name: self.dev.resources[name] for name in ("api_handler", "jwt_authorizer")}
        swagger = self.swagger
        for name, handler in (("jwt_authorizer", "app.jwt_authorizer"), ("api_handler", "app.app")):
            if name == "jwt_authorizer" or own_api_function:
                arn = self._function(handler, code, variables)
                swagger = swagger.replace(f"{names[name]['lambda_arn']}/", f"{arn}/")
                names[name] = {"lambda_arn": arn}
        gateway = self.dev.aws.client("apigateway")
        names["rest_api"] = {"rest_api_id": gateway.import_rest_api(body=swagger)["id"]}
        gateway_responses.put(gateway, names["rest_api"]["rest_api_id"], self.dev.stage, None)
        return Api(self.dev.aws, Path(), self.dev.stage, "", names=names, endpoint=endpoint)

    def _function(self, handler: str, code: bytes, variables: dict[str, str]) -> str:
        functions = self.dev.aws.client("lambda")
        made = functions.create_function(
            FunctionName=f"faults-{uuid.uuid4().hex[:8]}",
            Runtime=aws_runtime.RUNTIME,
            Role=self.role,
            Handler=handler,
            Code={"ZipFile": aws_runtime.package(code)},
            Timeout=15,
            Environment={"Variables": variables},
        )
        self.stack.callback(functions.delete_function, FunctionName=made["FunctionName"])  # and its environments
        return str(made["FunctionArn"])

    def with_a_secret(self, *, own_api_function: bool = False, **variables: str) -> Api:
        endpoint = Endpoint(passing_to(self.dev.aws.port))
        self.stack.callback(endpoint.close)
        key, name = secrets.token_urlsafe(64), f"fixture-key-faults-{uuid.uuid4().hex[:8]}"
        self.dev.aws.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps({"my_secret_key": key}))
        variables = {"JWT_SECRET_ID": name, "AWS_ENDPOINT_URL_SECRETS_MANAGER": endpoint.url, **variables}
        api = self.api(endpoint, self.plain, own_api_function=own_api_function, **variables)
        api.secret_id = name
        api.sign = lambda claims, forged: jwt.encode(dict(claims), "x" * 64 if forged else key, "HS256")
        return api

    def with_a_provider(self, **variables: str) -> Api:
        endpoint = Endpoint(lambda _: Reply(200, key_set(self.issuer)))
        self.stack.callback(endpoint.close)
        given = {"iss": "https://issuer.example", "aud": "api"}
        api = self.api(
            endpoint,
            self.with_cryptography,
            JWT_JWKS_URL=f"{endpoint.url}/jwks.json",
            JWT_ISSUER=given["iss"],
            JWT_AUDIENCE=given["aud"],
            **variables,
        )
        api.impostors_keys = key_set(self.impostor)
        api.sign = lambda claims, forged: jwt.encode(
            {**claims, **given}, self.impostor if forged else self.issuer, "RS256", headers={"kid": "k"}
        )
        return api


def key_set(private: rsa.RSAPrivateKey) -> bytes:
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    return json.dumps({"keys": [{**jwk, "kid": "k"}]}).encode()


TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
MAY_READ = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": "secretsmanager:GetSecretValue",
            "Resource": "arn:aws:secretsmanager:*:*:secret:fixture-key-faults-*",
        }
    ],
}


def with_installed(package: bytes, *modules: str) -> bytes:
    """Return the package with what of this virtual environment the line `-r requirements/jwks.txt` would put in."""
    packed = io.BytesIO(package)
    with zipfile.ZipFile(packed, "a") as archive:
        for module in modules:
            found = importlib.util.find_spec(module)
            assert found is not None
            assert found.origin is not None
            origin = Path(found.origin)
            files = sorted(origin.parent.rglob("*")) if origin.name == "__init__.py" else [origin]
            for file in files:
                if file.is_file() and file.suffix in {".py", ".so"}:
                    place = file.relative_to(origin.parents[1] if origin.name == "__init__.py" else origin.parent)
                    archive.write(file, place, zipfile.ZIP_DEFLATED, compresslevel=1)
    return packed.getvalue()


# What breaks, and how it ends.


@dataclass(frozen=True)
class Fault:
    """`detail` is what the log says. A slow one has a fetch wait for the authorizer's timeouts."""

    begin: Callable[[Api], None]
    detail: str
    slow: bool = False
    end: Callable[[Api], None] = lambda api: api.endpoint.recover()


def answering(status: int, body: bytes, **headers: str) -> Callable[[Api], None]:
    return lambda api: api.endpoint.answers(lambda _: Reply(status, body, headers))


def forbid(api: Api) -> None:
    """Take the permission away, for this secret: a Deny beats what the role allows."""
    statement = {"Effect": "Deny", "Action": "*", "Resource": f"arn:aws:secretsmanager:*:*:secret:{api.secret_id}-*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    api.aws.client("iam").put_role_policy(RoleName=ROLE, PolicyName=api.secret_id, PolicyDocument=policy)


def permit(api: Api) -> None:
    api.aws.client("iam").delete_role_policy(RoleName=ROLE, PolicyName=api.secret_id)


def delete(api: Api) -> None:
    api.aws.client("secretsmanager").delete_secret(SecretId=api.secret_id, RecoveryWindowInDays=7)


def restore(api: Api) -> None:
    api.aws.client("secretsmanager").restore_secret(SecretId=api.secret_id)


def put_nonsense(api: Api) -> None:
    api.aws.client("secretsmanager").put_secret_value(SecretId=api.secret_id, SecretString='{"other": "x"}')


def put_back(api: Api) -> None:
    client = api.aws.client("secretsmanager")
    good = client.get_secret_value(SecretId=api.secret_id, VersionStage="AWSPREVIOUS")["SecretString"]
    client.put_secret_value(SecretId=api.secret_id, SecretString=good)


def redirect(api: Api) -> None:
    """Lead away, to keys that somebody else made."""

    def answer(request: Request) -> Reply:
        if request.path == "/elsewhere":
            return Reply(200, api.impostors_keys)
        return Reply(302, b"", {"Location": f"{api.endpoint.url}/elsewhere"})

    api.endpoint.answers(answer)


SECRETS_MANAGER = {
    "down": Fault(lambda api: api.endpoint.refuses_connections(), "ConnectionRefusedError"),
    "unreachable": Fault(lambda api: api.endpoint.takes_no_connection(), "TimeoutError", slow=True),
    "slow": Fault(lambda api: api.endpoint.holds(), "TimeoutError", slow=True),
    "throttling": Fault(answering(400, b'{"__type": "ThrottlingException"}'), "ThrottlingException"),
    "refusing": Fault(forbid, "AccessDenied", end=permit),
    "deleted": Fault(delete, "InvalidRequestException", end=restore),
    "malformed": Fault(put_nonsense, "is not of the form", end=put_back),
}
PROVIDER = {
    "down": Fault(lambda api: api.endpoint.refuses_connections(), "cannot be fetched"),
    "slow": Fault(lambda api: api.endpoint.holds(), "cannot be fetched", slow=True),
    "dripping": Fault(lambda api: api.endpoint.drips(), "cannot be fetched", slow=True),
    "error": Fault(answering(500, b'{"error": "try later"}'), "cannot be fetched"),
    "garbage": Fault(answering(200, b"<html>Welcome</html>"), "has no key for"),
    "empty": Fault(answering(200, b'{"keys": []}'), "has no key for"),
    "redirect": Fault(redirect, "cannot be fetched"),
}
SOURCES = {
    "secrets_manager": (SECRETS_MANAGER, Workshop.with_a_secret),
    "provider": (PROVIDER, Workshop.with_a_provider),
}
#: Each case by its name, as docs/operating.md has it.
CASES = {f"{source}-{name}": fault for source, (faults, _) in SOURCES.items() for name, fault in faults.items()}
