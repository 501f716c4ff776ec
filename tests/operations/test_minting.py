"""What manage.py mints, the authorizer accepts, whatever the settings are."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest

from chalicelib.guard.decision import Caller
from chalicelib.guard.keys.source import hmac_keys
from chalicelib.guard.settings import Settings, from_environment
from chalicelib.guard.tokens import InvalidToken, verify
from operations import minting
from tests.support.tokens import SECRET

EVERYTHING = {
    "JWT_ALGORITHMS": "HS512 HS256",
    "JWT_ISSUER": "https://issuer.example",
    "JWT_AUDIENCE": "us them",
    "JWT_REQUIRED_CLAIMS": "token_use=access tenant=acme",
    "JWT_TOKEN_TYPE": "at+jwt",
    "JWT_ROLES_CLAIM": "realm_access.roles",
    "JWT_ROLES_FORMAT": "space-separated",
    "JWT_MAX_LIFETIME_SECONDS": "60",
    "JWT_CALLER_CLAIMS": "tenant",
}
SETTINGS = [
    {},
    *({name: text} for name, text in EVERYTHING.items()),
    {"JWT_ROLES_CLAIM": "https://example.com/roles"},
    {"JWT_ROLES_CLAIM": "groups"},
    {"JWT_TOKEN_TYPE": "application/at+JWT"},
    {"JWT_AUDIENCE_CLAIM": "client_id", "JWT_AUDIENCE": "us", "JWT_REQUIRED_CLAIMS": "token_use=access"},
    EVERYTHING,
]


def mint(settings: Settings, *roles: str, ttl: int = 3600, **claims: Any) -> str:
    return minting.mint(settings, SECRET, "alice", roles, ttl, claims, "version-1")


def caller(settings: Settings, token: str) -> Caller:
    wanted = settings
    keys = hmac_keys(SECRET, "version-1", wanted.algorithms, "the secret")
    return verify(f"Bearer {token}", keys, wanted, time.time())


@pytest.mark.parametrize("variables", SETTINGS, ids=lambda given: " ".join(given) if len(given) < 9 else "everything")
@pytest.mark.parametrize("roles", [(), ("user",), ("user", "admin")], ids=" ".join)
def test_what_is_minted_is_accepted(variables: dict[str, str], roles: tuple[str, ...]) -> None:
    settings = from_environment(variables)
    accepted = caller(settings, mint(settings, *roles))
    assert (accepted.subject, accepted.roles, accepted.key_id) == ("alice", frozenset(roles), "version-1")


@pytest.mark.parametrize("name", ["JWT_ISSUER", "JWT_AUDIENCE", "JWT_REQUIRED_CLAIMS", "JWT_TOKEN_TYPE"])
def test_what_other_settings_would_mint_is_not_accepted(name: str) -> None:
    settings = from_environment({name: EVERYTHING[name]})
    with pytest.raises(InvalidToken):
        caller(settings, mint(from_environment({})))


def test_a_path_of_roles_is_written_as_providers_write_it() -> None:
    token = mint(from_environment({"JWT_ROLES_CLAIM": "realm_access.roles"}), "user")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["realm_access"] == {"roles": ["user"]}


def test_a_token_lives_no_longer_than_is_accepted() -> None:
    settings = from_environment({"JWT_MAX_LIFETIME_SECONDS": "60"})
    assert [minting.lifetime(settings, ttl) for ttl in (30, 60, 61)] == [30, 60, 60]
    assert minting.lifetime(from_environment({}), 61) == 61


def test_a_claim_that_is_asked_for_wins_over_one_of_ours() -> None:
    settings = from_environment(EVERYTHING)
    claims = jwt.decode(mint(settings, tenant="other", aud="them"), options={"verify_signature": False})
    assert (claims["tenant"], claims["aud"]) == ("other", "them")


@pytest.mark.parametrize("end", ["AAAA", "BBBB"])
def test_a_tampered_token_is_never_accepted(end: str) -> None:
    settings = from_environment({})
    token = mint(settings, "admin")
    assert minting.tampered(token[:-4] + end) != token[:-4] + end
    with pytest.raises(InvalidToken):
        caller(settings, minting.tampered(token))


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "e30.W10.x"])
def test_a_text_that_is_no_token_has_no_subject(token: str) -> None:
    assert minting.subject(token) == ""
