"""Keys of an identity provider, fetched over real HTTP from a server that the test fills with keys."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from chalice.test import Client
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, get_default_algorithms

from tests.conftest import PATH, claims, forge, sign

ISSUER, AUDIENCE = "https://issuer.example", "us"
RSA, OTHER_RSA, WEAK_RSA = (rsa.generate_private_key(65537, bits) for bits in (2048, 2048, 1024))
CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
PRIVATE: dict[str, Any] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), RSA),
    **{algorithm: ec.generate_private_key(curve) for algorithm, curve in CURVES.items()},
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def jwk(key: Any, algorithm: str, **members: Any) -> dict[str, Any]:
    public = json.loads(get_default_algorithms()[algorithm].to_jwk(key.public_key()))
    return {"kid": "one", "use": "sig", **public, **members}


def signed(algorithm: str = "RS256", key: Any = None, kid: str | None = "one", **changes: Any) -> str:
    whole = claims(**{"iss": ISSUER, "aud": AUDIENCE, **changes})
    return jwt.encode(whole, key or PRIVATE[algorithm], algorithm, headers={"kid": kid} if kid else None)


class Provider:
    """An identity provider's JWKS document on loopback; `answer` may be anything a server can send."""

    def __init__(self) -> None:
        self.answer: tuple[int, bytes] = (200, b"{}")
        self.fetches = 0
        self.waits = 0.0  # seconds, before it answers
        self.drips = 0  # bytes of the body, half a second apart, before all the rest
        self.done = False
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.fetches += 1
                status, body = provider.answer
                time.sleep(provider.waits)
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):
                    for byte in range(provider.drips):
                        self.wfile.write(body[byte : byte + 1])
                        time.sleep(0.5)
                    self.wfile.write(body[provider.drips :])
                    provider.done = True

            def log_message(self, *_: object) -> None:
                """Keep the test's output clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/jwks.json"

    def publish(self, *keys: Any) -> None:
        self.answer = (200, json.dumps({"keys": list(keys)}).encode())


@pytest.fixture
def provider(environment: Callable[..., None]) -> Iterator[Provider]:
    made = Provider()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    environment(AUTHORIZER_SECRET=None, JWT_JWKS_URL=made.url, JWT_ISSUER=ISSUER, JWT_AUDIENCE=AUDIENCE)
    yield made
    made.server.shutdown()
    made.server.server_close()


def get(client: Client, token: str) -> int:
    return int(client.http.get(PATH, headers={"Authorization": token}).status_code)


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_a_token_of_the_provider_stands(
    client: Client, provider: Provider, environment: Callable[..., None], algorithm: str
) -> None:
    environment(JWT_ALGORITHMS=algorithm)
    provider.publish(jwk(PRIVATE[algorithm], algorithm))
    assert get(client, signed(algorithm)) == 200
    assert get(client, signed(algorithm, roles=["stranger"])) == 403
    assert get(client, signed(algorithm)[:-8] + "AAAAAAAA") == 401


@pytest.mark.parametrize("algorithm", ["RS512", "PS256", "ES256"])
@pytest.mark.parametrize("order", ["RS256,{}", "{},RS256"])
def test_a_key_that_names_its_algorithm_is_for_no_other(
    client: Client, provider: Provider, environment: Callable[..., None], algorithm: str, order: str
) -> None:
    environment(JWT_ALGORITHMS=order.format(algorithm))
    provider.publish(jwk(RSA, "RS256", alg="RS256"))
    assert get(client, signed("RS256")) == 200
    assert get(client, signed(algorithm)) == 401


def test_a_key_that_names_neither_use_nor_algorithm_is_for_every_one_that_fits(
    client: Client, provider: Provider, environment: Callable[..., None]
) -> None:
    environment(JWT_ALGORITHMS="ES256,RS256,PS512")
    provider.publish({name: value for name, value in jwk(RSA, "RS256").items() if name != "use"})
    assert get(client, signed("RS256")) == 200
    assert get(client, signed("PS512")) == 200
    assert get(client, signed("ES256")) == 401


@pytest.mark.parametrize("unfit", [json.loads(get_default_algorithms()["RS256"].to_jwk(RSA)), jwk(WEAK_RSA, "RS256")])
def test_a_published_private_key_or_a_weak_one_is_no_key_of_the_provider(
    client: Client, provider: Provider, unfit: dict[str, Any]
) -> None:
    provider.publish({**unfit, "kid": "one"}, jwk(OTHER_RSA, "RS256", kid="two"))
    assert get(client, signed(key=OTHER_RSA, kid="two")) == 200
    assert get(client, signed(kid="one")) == 401  # not ours to fail on: as if the key were not there


def test_a_key_on_another_curve_than_the_algorithms_is_no_key_though_its_signature_holds(
    client: Client, provider: Provider, environment: Callable[..., None]
) -> None:
    environment(JWT_ALGORITHMS="ES256")
    provider.publish(jwk(PRIVATE["ES384"], "ES384"), jwk(PRIVATE["ES256"], "ES256", kid="two"))
    assert get(client, signed("ES256", kid="two")) == 200
    said = signed("ES256").rpartition(".")[0]
    signature = ECAlgorithm(ECAlgorithm.SHA256).sign(said.encode(), PRIVATE["ES384"])
    assert get(client, f"{said}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}") == 401


def test_without_a_kid_a_single_key_is_tried_and_a_key_without_a_kid_fits_any(
    client: Client, provider: Provider
) -> None:
    provider.publish({name: value for name, value in jwk(RSA, "RS256").items() if name != "kid"})
    assert get(client, signed(kid=None)) == 200
    assert get(client, signed(kid="any")) == 200


@pytest.mark.parametrize(
    "spoiled",
    [
        {"iss": "https://other.example"},
        {"aud": "them"},
        {"iss": ...},
        {"aud": ...},
        {"exp": 1},
    ],
)
def test_a_token_of_the_provider_that_was_not_made_for_us_is_a_401(
    client: Client, provider: Provider, spoiled: dict[str, Any]
) -> None:
    provider.publish(jwk(RSA, "RS256"))
    assert get(client, signed(**spoiled)) == 401


def test_an_hmac_with_the_public_key_for_its_secret_is_refused(client: Client, provider: Provider) -> None:
    published = jwk(RSA, "RS256")
    provider.publish(published)
    body = json.dumps(claims(iss=ISSUER, aud=AUDIENCE, roles=["admin"])).encode()
    for secret in (json.dumps(published), published["n"]):
        assert get(client, forge(b'{"alg":"HS256","kid":"one"}', body, secret)) == 401
        assert get(client, forge(b'{"alg":"RS256","kid":"one"}', body, secret)) == 401


@pytest.mark.parametrize(
    "unfit",
    [
        {"kty": "oct", "kid": "one", "k": "QUFB" * 20, "alg": "HS256"},
        {"kty": "oct", "kid": "one", "k": "QUFB" * 20, "alg": "RS256"},
        {"kty": "RSA", "kid": "one"},
        {"kty": "RSA", "kid": "one", "n": "AQAB", "e": "AQAB"},
        {"kty": "RSA", "kid": "one", "n": 7, "e": 7},
        {"kty": "none", "kid": "one"},
        {"kid": "one"},
        "a text",
        None,
        [],
        7,
    ],
)
def test_a_key_that_verifies_nothing_is_passed_over_and_does_not_hide_the_good_one(
    client: Client, provider: Provider, unfit: Any
) -> None:
    provider.publish(unfit, jwk(RSA, "RS256"))
    assert get(client, signed()) == 200
    assert get(client, sign(claims(iss=ISSUER, aud=AUDIENCE, roles=["admin"]), "AAA" * 20, kid="one")) == 401


@pytest.mark.parametrize(
    "alone",
    [
        jwk(WEAK_RSA, "RS256"),
        jwk(RSA, "RS256", use="enc"),
        jwk(RSA, "RS256", kid=7),
        jwk(RSA, "RS256", alg="RS512"),
        jwk(RSA, "RS256", d="AQAB"),
        jwk(PRIVATE["ES256"], "ES256"),
        {"kty": "oct", "kid": "one", "k": "QUFB" * 20},
    ],
)
def test_where_only_unfit_keys_are_published_it_is_our_trouble_and_a_500(
    client: Client, provider: Provider, alone: dict[str, Any]
) -> None:
    provider.publish(alone)
    assert get(client, signed()) == 500


@pytest.mark.parametrize(
    "answer",
    [
        (500, b""),
        (404, b"{}"),
        (302, b""),
        (200, b"not json"),
        (200, b"\xff\xfe"),
        (200, b"[]"),
        (200, b"{}"),
        (200, b'{"keys": {}}'),
        (200, b'{"keys": []}'),
        (200, b"[" * 100_000),
    ],
)
def test_a_provider_that_answers_nonsense_is_a_500_and_the_log_names_the_setting(
    client: Client, provider: Provider, answer: tuple[int, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    provider.answer = answer
    assert get(client, signed()) == 500
    fetch, line = map(json.loads, capsys.readouterr().out.splitlines())
    assert (fetch["refresh_failures"], fetch["detail"]) == (1, line["detail"])
    assert line["reason"] == "keys_unavailable"
    assert "JWT_JWKS_URL" in line["detail"]


def test_a_failed_fetch_says_what_kind_of_failure_it_was(client: Client, provider: Provider, capsys: Any) -> None:
    provider.answer = (500, b"")
    assert get(client, signed()) == 500
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["detail"] == (
        "JWT_JWKS_URL cannot be fetched (PyJWKClientConnectionError): check it."
    )


def test_a_provider_that_does_not_answer_within_two_seconds_is_a_500(client: Client, provider: Provider) -> None:
    provider.publish(jwk(RSA, "RS256"))
    provider.waits = 2.5
    assert get(client, signed()) == 500


def test_a_failed_fetch_does_not_put_the_url_into_the_log(
    client: Client, provider: Provider, environment: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    provider.answer = (500, b"")
    environment(JWT_JWKS_URL=f"{provider.url}?key=a-credential")
    assert get(client, signed()) == 500
    assert "a-credential" not in capsys.readouterr().out


def test_a_provider_that_is_not_there_is_a_500(client: Client, provider: Provider) -> None:
    provider.server.shutdown()
    provider.server.server_close()
    assert get(client, signed()) == 500


def test_a_provider_that_sends_byte_by_byte_is_not_waited_for(client: Client, provider: Provider) -> None:
    provider.publish(jwk(RSA, "RS256"))
    provider.drips = 14  # each is well within a socket's own timeout
    assert get(client, signed()) == 500
    assert not provider.done


def test_a_provider_that_goes_down_leaves_its_keys_in_service(
    client: Client, provider: Provider, environment: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    environment(JWT_KEY_TTL_SECONDS="1")
    provider.publish(jwk(RSA, "RS256"))
    assert get(client, signed()) == 200
    provider.answer = (500, b"")
    time.sleep(1.1)
    capsys.readouterr()
    assert get(client, signed()) == 200
    fetch, line, _ = map(json.loads, capsys.readouterr().out.splitlines())
    assert fetch["refresh_failures"] == 1
    assert "cannot be fetched" in line["detail"]
    assert line["keys_age_s"] >= 1


def test_a_new_key_of_the_provider_is_fetched_when_its_kid_is_met_and_not_more_often(
    client: Client, provider: Provider
) -> None:
    provider.publish(jwk(RSA, "RS256"))
    assert get(client, signed()) == 200
    provider.publish(jwk(OTHER_RSA, "RS256", kid="two"), jwk(RSA, "RS256"))
    assert get(client, signed(key=OTHER_RSA, kid="two")) == 200
    assert get(client, signed()) == 200
    assert provider.fetches == 2
    for number in range(50):
        assert get(client, signed(key=OTHER_RSA, kid=f"unknown-{number}")) == 401
    assert provider.fetches == 2


def test_a_token_that_is_refused_for_another_reason_has_no_keys_fetched(client: Client, provider: Provider) -> None:
    provider.publish(jwk(RSA, "RS256"))
    for bad in (signed(exp=1), signed(aud="them"), "nonsense", signed(roles="admin")):
        assert get(client, bad) == 401
    assert provider.fetches == 1


def test_a_token_names_no_key_of_its_own(client: Client, provider: Provider) -> None:
    provider.publish(jwk(RSA, "RS256"))
    own = jwk(OTHER_RSA, "RS256")
    for header in ({"jwk": own}, {"jku": provider.url}, {"x5u": provider.url}, {"x5c": ["AAAA"]}):
        forged = jwt.encode(
            claims(iss=ISSUER, aud=AUDIENCE, roles=["admin"]), OTHER_RSA, "RS256", headers={"kid": "one", **header}
        )
        assert get(client, forged) == 401
    assert provider.fetches <= 2
