"""The environment becomes Settings, checked once. The only reader of `os.environ`."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property, partial
from typing import Any

from chalicelib.guard.decision import Failure, Reason

#: RFC 7518 section 3.2: the secret is at least as long as the hash.
SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
#: What a public key can verify. ES256K and the SHA-1 family are left out: no identity provider needs them.
PUBLIC_KEY_ALGORITHMS = tuple("RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519".split())
#: The variables of this process as they are now: in Lambda its credentials change.
ENVIRONMENT: Mapping[str, str] = os.environ
# RFC 6454 section 6.2: scheme, host and port. Nothing in it can end the quotes that API Gateway wants around it.
_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_URL = re.compile(
    r"(https://([\w.-]+|\[[\da-f:.]+\])|http://(127\.0\.0\.1|\[::1\]|localhost))(:\d{1,5})?([/?#].*)?", re.A | re.I
)
HOW_TO_MAKE_ONE = """make one with: python3 -c "import secrets; print(secrets.token_urlsafe(64))\""""


class SettingsError(Failure):
    """A setting is wrong. The text names the variable, the fault and the fix, never a secret's value."""

    reason = Reason.BAD_SETTING


def _require(satisfied: object, text: str) -> None:
    if not satisfied:
        raise SettingsError(text)


# How a variable is read: each reader takes its name and its text, which is never empty.


def _words(name: str, text: str) -> tuple[str, ...]:
    # Commas or spaces separate them. An empty list would check nothing.
    words = tuple(dict.fromkeys(text.replace(",", " ").split()))
    _require(words, f"{name} is an empty list: name something, or unset it.")
    return words


def _claims(name: str, text: str) -> dict[str, str]:
    pairs = [word.partition("=")[::2] for word in text.split()]
    right = pairs and all(claim and value for claim, value in pairs) and len(dict(pairs)) == len(pairs)
    _require(right, f"{name} must be claim=text, separated by spaces, each claim once.")
    return dict(pairs)


def _choice(yes: str, no: str, name: str, text: str) -> bool:
    _require(text in {yes, no}, f"{name} is {text[:20]!r}: choose {yes} or {no}.")
    return text == yes


def _number(least: int, most: int, name: str, text: str) -> int:
    right = re.fullmatch("[0-9]{1,10}", text) and least <= int(text) <= most
    _require(right, f"{name} is {text[:20]!r}: write a whole number from {least} to {most}.")
    return int(text)


def _origin(name: str, text: str) -> str:
    # One: what API Gateway itself answers is fixed, so it cannot choose from a list.
    fix = "write * or one origin, such as https://app.example.com: lower case, no path, no slash at the end"
    _require(_ORIGIN.fullmatch(text), f"{name} is {text[:40]!r}: {fix}.")
    return text


def _url(name: str, text: str) -> str:
    _require(_URL.fullmatch(text), f"{name} must start with https:// (http:// is for loopback alone, in tests).")
    return text


def _read_from(variable: str, read: Callable[[str, str], Any] = lambda _, text: text, **more: Any) -> Any:
    # It runs at the import, where mutmut cannot switch a mutant on.
    return field(metadata={"variable": variable, "read": read}, **(more or {"default": None}))  # pragma: no mutate


@dataclass(frozen=True)
class Settings:
    """What a token must satisfy beside a good signature, and where keys come from. Times are seconds."""

    algorithms: tuple[str, ...] = _read_from("JWT_ALGORITHMS", _words, default=("HS256",))
    issuer: str | None = _read_from("JWT_ISSUER")
    audiences: tuple[str, ...] = _read_from("JWT_AUDIENCE", _words, default=())  # it must be for one of them
    audience_claim: str = _read_from("JWT_AUDIENCE_CLAIM", default="aud")  # or a text claim to compare instead
    # What `typ` must be (RFC 8725 section 3.11), with or without its prefix (RFC 7515 section 4.1.9).
    token_type: str | None = _read_from("JWT_TOKEN_TYPE", lambda _, text: text.lower().removeprefix("application/"))
    claims: Mapping[str, str] = _read_from("JWT_REQUIRED_CLAIMS", _claims, default_factory=dict)  # exactly this text
    caller_claims: tuple[str, ...] = _read_from("JWT_CALLER_CLAIMS", _words, default=())  # for views
    # A claim's name or, if no claim has that very name, a path of names joined by dots.
    roles_claim: str = _read_from("JWT_ROLES_CLAIM", default="roles")
    # Separated by spaces, as in `scope` (RFC 8693 section 4.2).
    roles_in_text: bool = _read_from("JWT_ROLES_FORMAT", partial(_choice, "space-separated", "list"), default=False)
    leeway: int = _read_from("JWT_LEEWAY_SECONDS", partial(_number, 0, 120), default=0)
    max_lifetime: int | None = _read_from("JWT_MAX_LIFETIME_SECONDS", partial(_number, 1, 10**9))
    # Keys: `jwks_url` if it is set, else `local_secret`, else Secrets Manager.
    jwks_url: str | None = _read_from("JWT_JWKS_URL", _url)
    local_secret: str | None = _read_from("AUTHORIZER_SECRET", default=None, repr=False)
    secret_id: str = _read_from("JWT_SECRET_ID", default="jwt-secret-key")
    secret_field: str = _read_from("JWT_SECRET_FIELD", default="my_secret_key")
    accept_previous_key: bool = _read_from("JWT_PREVIOUS_KEY", partial(_choice, "accept", "refuse"), default=True)
    rotation_days: int | None = _read_from("JWT_ROTATION_DAYS", partial(_number, 1, 1000))
    revocations_secret_id: str | None = _read_from("JWT_REVOCATIONS_SECRET_ID")
    key_ttl: int = _read_from("JWT_KEY_TTL_SECONDS", partial(_number, 1, 3600), default=300)
    key_max_stale: int = _read_from("JWT_KEY_MAX_STALE_SECONDS", partial(_number, 0, 86400), default=3600)
    allowed_origin: str | None = _read_from("CORS_ALLOWED_ORIGIN", _origin)

    @cached_property
    def required(self) -> frozenset[str]:
        """The claims that a token must have."""
        # Without `iat` the lifetime is unknown.
        asked = (self.issuer, "iss"), (self.audiences, self.audience_claim), (self.max_lifetime, "iat")
        return frozenset({"exp", "sub", *self.claims, *[name for setting, name in asked if setting]})


#: Every variable that `from_environment` reads, and the setting that it makes.
NAMES = {its.metadata["variable"]: its for its in fields(Settings)}


def from_environment(environment: Mapping[str, str] = ENVIRONMENT) -> Settings:
    """Return the settings that these variables make, or raise SettingsError. An empty variable is unset."""
    given = {name: text for name, text in environment.items() if text}
    for name in {name for name in given if name.startswith("JWT_")} - NAMES.keys():
        from difflib import get_close_matches  # for this sentence alone

        nearest = get_close_matches(name, NAMES, 1, 0)[0]
        raise SettingsError(f"{name} is no setting, so it would have no effect: write {nearest}, or remove it.")
    # Everyone who may read a function's configuration could read the secret.
    exposed = {"AUTHORIZER_SECRET", "AWS_LAMBDA_FUNCTION_NAME"} <= given.keys()
    _require(not exposed, "AUTHORIZER_SECRET is set inside Lambda: remove it, and name a secret with JWT_SECRET_ID.")
    # Secrets and public keys never share an allow-list: a public key is everybody's HS256 secret.
    known, beside = tuple(SECRET_BYTES), "without"
    if "JWT_JWKS_URL" in given:
        known, beside = PUBLIC_KEY_ALGORITHMS, "with"
        for name in ("AUTHORIZER_SECRET", "JWT_ROTATION_DAYS"):
            _require(name not in given, f"{name} is set with JWT_JWKS_URL: a provider has keys of its own; unset one.")
        # Without them a token that the provider made for anybody else would be valid here.
        for name in ("JWT_ISSUER", "JWT_AUDIENCE"):
            _require(name in given, f"{name} is not set: JWT_JWKS_URL needs both JWT_ISSUER and JWT_AUDIENCE.")
    read = {its.name: its.metadata["read"](name, given[name]) for name, its in NAMES.items() if name in given}
    settings = Settings(**{"algorithms": known[:1], **read})
    wrong = " ".join(name for name in settings.algorithms if name not in known)[:40]
    _require(not wrong, f"JWT_ALGORITHMS may list {', '.join(known)} {beside} JWT_JWKS_URL; fix {wrong}.")
    # Only in Amazon Cognito's access tokens does another claim mean what `aud` means.
    meant = settings.audience_claim == "aud" or settings.claims.get("token_use") == "access"
    _require(meant, "JWT_AUDIENCE_CLAIM needs JWT_REQUIRED_CLAIMS=token_use=access: set that, or unset it.")
    return settings
