"""Tokens of issuers that nobody here wrote: Cognito of the embedded AWS, and an OpenID Connect server from PyPI.

They are verified by a deployment of its own, renamed as the README tells, with `cryptography` in its package.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.support.deployed import Deployed
from tests.support.embedded_aws import REGION, EmbeddedAws, free_port
from tests.support.project import PROJECT, copy_project, of_another_name

PASSWORD = "Correct-horse-battery-1"


@pytest.fixture(scope="module")
def guard(aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """Deploy with keys out of Cognito's JWKS; the tests point it at other issuers."""
    project = of_another_name(copy_project(tmp_path_factory.mktemp("providers") / "project"), "idp")
    page = (PROJECT / "docs" / "tokens.md").read_text()
    (line,) = re.findall(r"^-r requirements/jwks.txt$", page, re.MULTILINE)
    with (project / "requirements.txt").open("a") as requirements:
        requirements.write(f"{line}\n")
    config = project / ".chalice" / "config.json"
    stages = json.loads(config.read_text())
    stages["stages"]["dev"]["lambda_functions"]["jwt_authorizer"]["environment_variables"] = {
        "JWT_JWKS_URL": "http://127.0.0.1:9/set-by-the-test",
        "JWT_ISSUER": "set-by-the-test",
        "JWT_AUDIENCE": "set-by-the-test",
    }
    config.write_text(json.dumps(stages))
    # The list of ended sessions is read with a provider too.
    empty = '{"everyone": -1, "subjects": {}}'
    aws.client("secretsmanager").create_secret(Name="idp-revocations-dev", SecretString=empty)
    deployed = Deployed(aws, project, "dev", "idp-key-dev")
    deployed.chalice("deploy", "--stage", "dev")
    return deployed


def outcomes(guard: Deployed, tokens: dict[str, str]) -> dict[str, tuple[int, int]]:
    """Return the statuses of GET and POST with the token of each user."""
    return {who: (guard.ask("GET", its).status, guard.ask("POST", its).status) for who, its in tokens.items()}


# Cognito.


@pytest.fixture(scope="module")
def pool(aws: EmbeddedAws) -> tuple[str, str]:
    """Make a user pool with a group for each role; return its id and its client's."""
    cognito = aws.client("cognito-idp")
    pool = cognito.create_user_pool(PoolName="people")["UserPool"]["Id"]
    flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
    client = cognito.create_user_pool_client(UserPoolId=pool, ClientName="app", ExplicitAuthFlows=flows)
    for who, group in (("ursula", "user"), ("ada", "admin"), ("nobody", None)):
        cognito.admin_create_user(UserPoolId=pool, Username=who, MessageAction="SUPPRESS")
        cognito.admin_set_user_password(UserPoolId=pool, Username=who, Password=PASSWORD, Permanent=True)
        if group is not None:
            cognito.create_group(UserPoolId=pool, GroupName=group)
            cognito.admin_add_user_to_group(UserPoolId=pool, Username=who, GroupName=group)
    return pool, client["UserPoolClient"]["ClientId"]


def cognito_tokens(aws: EmbeddedAws, client: str, which: str) -> dict[str, str]:
    """Sign in and return each user's token, "IdToken" or "AccessToken"."""
    cognito = aws.client("cognito-idp")
    tokens = {}
    for who in ("ursula", "ada", "nobody"):
        given = {"USERNAME": who, "PASSWORD": PASSWORD}
        answer = cognito.initiate_auth(ClientId=client, AuthFlow="USER_PASSWORD_AUTH", AuthParameters=given)
        tokens[who] = answer["AuthenticationResult"][which]
    return tokens


def test_who_signs_in_at_cognito_may_do_what_the_groups_may(guard: Deployed, pool: tuple[str, str]) -> None:
    pool_id, client = pool
    settings = {
        "JWT_JWKS_URL": f"http://127.0.0.1:{guard.aws.port}/{pool_id}/.well-known/jwks.json",
        "JWT_ISSUER": f"https://cognito-idp.{REGION}.amazonaws.com/{pool_id}",
        "JWT_AUDIENCE": client,
        "JWT_ROLES_CLAIM": "cognito:groups",
    }
    guard.restart("jwt_authorizer", **settings)
    tokens = cognito_tokens(guard.aws, client, "IdToken")
    assert outcomes(guard, tokens) == {"ursula": (200, 403), "ada": (200, 200), "nobody": (403, 403)}
    # Cognito's access tokens have no audience, so they are refused, unless the client is compared instead.
    access = cognito_tokens(guard.aws, client, "AccessToken")
    assert outcomes(guard, {"ada": access["ada"]}) == {"ada": (401, 401)}
    by_client = {**settings, "JWT_AUDIENCE_CLAIM": "client_id", "JWT_REQUIRED_CLAIMS": "token_use=access"}
    guard.restart("jwt_authorizer", **by_client)
    access = cognito_tokens(guard.aws, client, "AccessToken")  # new ones: the gateway has an answer for each it saw
    assert outcomes(guard, access) == {"ursula": (200, 403), "ada": (200, 200), "nobody": (403, 403)}
    tokens = cognito_tokens(guard.aws, client, "IdToken")
    assert outcomes(guard, {"ada": tokens["ada"]}) == {"ada": (401, 401)}  # an ID token is not an access token
    guard.restart("jwt_authorizer", **{**by_client, "JWT_AUDIENCE": "another-client"})
    access = cognito_tokens(guard.aws, client, "AccessToken")
    assert outcomes(guard, {"ada": access["ada"]}) == {"ada": (401, 401)}
    restored = {"JWT_AUDIENCE_CLAIM": "", "JWT_REQUIRED_CLAIMS": ""}
    guard.restart("jwt_authorizer", **{**settings, **restored, "JWT_AUDIENCE": "another-client"})
    again = cognito_tokens(guard.aws, client, "IdToken")
    assert outcomes(guard, {"ada": again["ada"]}) == {"ada": (401, 401)}


# An OpenID Connect server.

PEOPLE: dict[str, dict[str, Any]] = {
    "ursula": {"realm_access": {"roles": ["offline_access", "user"]}},
    "ada": {"realm_access": {"roles": ["admin"]}},
    "nobody": {"realm_access": {"roles": []}},
    "odd": {"realm_access": {"roles": "admin"}},
}
CLIENT = "my-client"


class OpenIdProvider:
    """The server in a process of its own; started again, it has new keys and the old address."""

    def __init__(self, log: Path) -> None:
        self.port, self.log = free_port(), log
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        users = [word for who, its in PEOPLE.items() for word in ("--user-claims", json.dumps({"sub": who, **its}))]
        command = [str(Path(sys.executable).with_name("oidc-provider-mock")), "--port", str(self.port), *users]
        environment = {**os.environ, "AUTHLIB_INSECURE_TRANSPORT": "1", "PYTHONWARNINGS": "ignore"}
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT)
        for _ in range(200):
            with contextlib.suppress(OSError):
                self.request("GET", "/.well-known/openid-configuration")
                return
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(15)
            self.process = None

    def request(self, method: str, path: str, **form: str) -> tuple[dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            connection.request(method, path, urlencode(form) if form else None, headers)
            answer = connection.getresponse()
            return {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    @property
    def jwks_url(self) -> str:
        _, document = self.request("GET", "/.well-known/openid-configuration")
        return str(json.loads(document)["jwks_uri"])

    def sign_in(self, who: str) -> str:
        """Return the ID token that the authorization code flow gives this person."""
        back = "http://127.0.0.1:9/back"
        asked = {"client_id": CLIENT, "redirect_uri": back, "response_type": "code", "scope": "openid", "nonce": "n"}
        headers, _ = self.request("POST", f"/oauth2/authorize?{urlencode(asked)}", sub=who)
        (code,) = parse_qs(urlsplit(headers["location"]).query)["code"]
        _, answer = self.request(
            "POST",
            "/oauth2/token",
            grant_type="authorization_code",
            code=code,
            redirect_uri=back,
            client_id=CLIENT,
            client_secret="any",
        )
        return str(json.loads(answer)["id_token"])


@pytest.fixture
def provider(guard: Deployed, tmp_path: Path) -> Iterator[OpenIdProvider]:
    made = OpenIdProvider(tmp_path / "provider.log")
    made.start()
    guard.restart(
        "jwt_authorizer",
        JWT_JWKS_URL=made.jwks_url,
        JWT_ISSUER=made.issuer,
        JWT_AUDIENCE=CLIENT,
        JWT_ROLES_CLAIM="realm_access.roles",
        JWT_KEY_TTL_SECONDS="",
    )
    yield made
    made.stop()


def test_a_caller_of_an_openid_provider_may_do_what_nested_roles_may(guard: Deployed, provider: OpenIdProvider) -> None:
    tokens = {who: provider.sign_in(who) for who in PEOPLE}
    assert outcomes(guard, tokens) == {
        "ursula": (200, 403),
        "ada": (200, 200),
        "nobody": (403, 403),
        "odd": (401, 401),
    }


def test_when_the_provider_changes_its_keys_it_goes_on(guard: Deployed, provider: OpenIdProvider) -> None:
    before = provider.sign_in("ada")
    assert guard.ask("POST", before).status == 200
    provider.stop()
    provider.start()
    after = provider.sign_in("ada")
    assert guard.ask("POST", after).status == 200
    assert guard.ask("POST", provider.sign_in("ursula")).status == 403


def test_while_the_provider_is_down_its_keys_serve_on(guard: Deployed, provider: OpenIdProvider) -> None:
    guard.restart("jwt_authorizer", JWT_KEY_TTL_SECONDS="1")
    first, second = provider.sign_in("ursula"), provider.sign_in("ursula")
    assert guard.ask("GET", first).status == 200
    provider.stop()
    time.sleep(1.1)
    assert guard.ask("GET", second).status == 200
    line = guard.decisions("jwt_authorizer")[-1]
    assert line["keys_age_s"] > 1
    assert "cannot be fetched" in line["detail"]


def test_a_token_signed_with_the_secret_is_refused_beside_a_provider(
    guard: Deployed, provider: OpenIdProvider, dev: Deployed
) -> None:
    assert provider.sign_in("ada")
    claims = {"iss": provider.issuer, "aud": CLIENT, "realm_access": {"roles": ["admin"]}}
    assert guard.ask("GET", guard.token("admin", key=dev.signing_key(), **claims)).status == 401


def test_without_cryptography_the_log_says_which_line_is_missing(dev: Deployed) -> None:
    provider = {"JWT_JWKS_URL": "https://issuer.example/jwks", "JWT_ISSUER": "x", "JWT_AUDIENCE": "y"}
    dev.restart("jwt_authorizer", **provider)
    try:
        assert dev.ask("GET", dev.token("user")).status == 500
        detail = dev.decisions("jwt_authorizer")[-1]["detail"]
        assert "cryptography" in detail
        assert "requirements.txt" in detail
    finally:
        dev.restart("jwt_authorizer", **dict.fromkeys(provider, ""))


def test_manage_signs_nothing_for_a_provider(guard: Deployed) -> None:
    with pytest.raises(AssertionError, match="tokens come from the identity provider"):
        guard.manage("token", "--stage", "dev")
