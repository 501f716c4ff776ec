"""Keys of an identity provider, fetched over real HTTP from a server that the test fills with keys."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from chalice.test import Client
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, get_default_algorithms

from chalicelib.guard import settings
from chalicelib.guard.decision import KeysUnavailable
from chalicelib.guard.keys import source
from tests.support.endpoint import Speaker
from tests.support.tokens import claims, forge, sign

ISSUER, AUDIENCE = "https://issuer.example", "us"
RSA, OTHER_RSA, THIRD_RSA, WEAK_RSA = (rsa.generate_private_key(65537, bits) for bits in (2048, 2048, 2048, 1024))
CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
PRIVATE: dict[str, Any] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), RSA),
    **{algorithm: ec.generate_private_key(curve) for algorithm, curve in CURVES.items()},
    **dict.fromkeys(("EdDSA", "Ed25519"), ed25519.Ed25519PrivateKey.generate()),
}
#: PyJWT does not know RFC 9864's name.
ALGORITHMS = get_default_algorithms() | {"Ed25519": OKPAlgorithm()}
ISSUERS = jwt.PyJWS()
ISSUERS.register_algorithm("Ed25519", ALGORITHMS["Ed25519"])


def jwk(key: Any, algorithm: str, **members: Any) -> dict[str, Any]:
    public = json.loads(ALGORITHMS[algorithm].to_jwk(key.public_key()))
    return {"kid": "one", "use": "sig", **public, **members}


def signed(algorithm: str = "RS256", key: Any = None, kid: str | None = "one", **changes: Any) -> str:
    whole = claims(**{"iss": ISSUER, "aud": AUDIENCE, **changes})
    headers = {"kid": kid} if kid else None
    return ISSUERS.encode(json.dumps(whole).encode(), key or PRIVATE[algorithm], algorithm, headers)


class Provider:
    """An identity provider's JWKS document on loopback; `answer` may be anything a server can send."""

    def __init__(self) -> None:
        self.answer: tuple[int, bytes] = (200, b"{}")
        self.fetches, self.asked = 0, ""
        self.waits = 0.0  # seconds, before it answers
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.fetches, provider.asked = provider.fetches + 1, self.path
                status, body = provider.answer
                time.sleep(provider.waits)
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(body)

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
    return int(client.http.get("/items", headers={"Authorization": token}).status_code)


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_a_token_of_the_provider_is_valid(
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


def test_a_key_without_use_and_algorithm_is_for_all_that_fit(
    client: Client, provider: Provider, environment: Callable[..., None]
) -> None:
    environment(JWT_ALGORITHMS="ES256,RS256,PS512")
    provider.publish({name: value for name, value in jwk(RSA, "RS256").items() if name != "use"})
    assert get(client, signed("RS256")) == 200
    assert get(client, signed("PS512")) == 200
    assert get(client, signed("ES256")) == 401


#: With `key_ops` of ["sign"].
OPEN_SECRET = json.loads(ALGORITHMS["RS256"].to_jwk(RSA))


@pytest.mark.parametrize("unfit", [OPEN_SECRET, {**OPEN_SECRET, "key_ops": ["verify"]}, jwk(WEAK_RSA, "RS256")])
def test_a_published_private_key_or_a_weak_one_is_no_key_of_the_provider(
    client: Client, provider: Provider, unfit: dict[str, Any]
) -> None:
    provider.publish({**unfit, "kid": "one"}, jwk(OTHER_RSA, "RS256", kid="two"))
    assert get(client, signed(key=OTHER_RSA, kid="two")) == 200
    assert get(client, signed(kid="one")) == 401  # not ours to fail on: as if the key were not there


def test_a_key_on_another_curve_than_the_algorithms_is_no_key(
    client: Client, provider: Provider, environment: Callable[..., None]
) -> None:
    environment(JWT_ALGORITHMS="ES256")
    provider.publish(jwk(PRIVATE["ES384"], "ES384"), jwk(PRIVATE["ES256"], "ES256", kid="two"))
    assert get(client, signed("ES256", kid="two")) == 200
    said = signed("ES256").rpartition(".")[0]
    signature = ECAlgorithm(ECAlgorithm.SHA256).sign(said.encode(), PRIVATE["ES384"])
    assert get(client, f"{said}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}") == 401


def nameless(key: Any, algorithm: str = "RS256") -> dict[str, Any]:
    return {name: value for name, value in jwk(key, algorithm).items() if name != "kid"}


def test_a_key_without_a_kid_is_tried_for_any_token(client: Client, provider: Provider) -> None:
    provider.publish(nameless(RSA))
    assert get(client, signed(kid=None)) == 200
    assert get(client, signed(kid="any")) == 200


def test_nameless_keys_do_not_hide_the_one_that_the_kid_names(client: Client, provider: Provider) -> None:
    provider.publish(nameless(OTHER_RSA), nameless(THIRD_RSA), jwk(RSA, "RS256"))
    assert get(client, signed()) == 200


def test_where_the_kid_names_a_key_no_other_key_is_tried(client: Client, provider: Provider) -> None:
    provider.publish(jwk(OTHER_RSA, "RS256"), nameless(RSA))
    assert get(client, signed(kid="two")) == 200
    assert get(client, signed(kid="one")) == 401


def test_a_kid_is_no_hint_here_so_a_key_with_another_name_is_not_tried(client: Client, provider: Provider) -> None:
    provider.publish(jwk(RSA, "RS256"))
    assert get(client, signed(kid="two")) == 401


def test_a_kid_of_null_is_malformed(client: Client, provider: Provider, log: Callable[[], Any]) -> None:
    provider.publish(jwk(RSA, "RS256"))
    body = json.dumps(claims(iss=ISSUER, aud=AUDIENCE)).encode()
    said = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (b'{"alg":"RS256","kid":null}', body))
    signature = base64.urlsafe_b64encode(ALGORITHMS["RS256"].sign(said, RSA)).rstrip(b"=")
    assert get(client, (said + b"." + signature).decode()) == 401
    assert log()[-1]["reason"] == "malformed"


@pytest.mark.parametrize(
    ("operations", "status"),
    [(["verify"], 200), (["sign", "verify"], 200), (["sign"], 500), ([], 500), ("verify", 500), (None, 500), (7, 500)],
)
def test_a_key_is_used_only_if_its_operations_allow_to_verify(
    client: Client, provider: Provider, operations: Any, status: int
) -> None:
    provider.publish(jwk(RSA, "RS256", key_ops=operations))
    assert get(client, signed()) == status


def test_an_algorithm_that_is_listed_twice_makes_no_key_twice(
    client: Client, provider: Provider, environment: Callable[..., None]
) -> None:
    environment(JWT_ALGORITHMS="RS256 RS256 RS256")
    provider.publish(nameless(OTHER_RSA), nameless(RSA))  # of each algorithm two keys are tried
    assert get(client, signed()) == 200
    assert len(source.fetch(replace(settings.from_environment(), algorithms=("RS256", "RS256"))).keys) == 2


@pytest.mark.parametrize("named", ["EdDSA", "Ed25519", None])
@pytest.mark.parametrize("algorithm", ["EdDSA", "Ed25519"])
def test_an_ed25519_key_by_either_name_verifies_the_allowed_one(
    client: Client, provider: Provider, environment: Callable[..., None], algorithm: str, named: str | None
) -> None:
    environment(JWT_ALGORITHMS=algorithm)
    provider.publish(jwk(PRIVATE["EdDSA"], "EdDSA", **({"alg": named} if named else {})))
    other = {"EdDSA": "Ed25519", "Ed25519": "EdDSA"}[algorithm]
    assert get(client, signed(algorithm)) == 200
    assert get(client, signed(other)) == 401
    assert get(client, signed(algorithm)[:-8] + "AAAAAAAA") == 401


@pytest.mark.parametrize("algorithm", ["EdDSA", "Ed25519"])
def test_a_key_on_another_edwards_curve_is_no_key(
    client: Client, provider: Provider, environment: Callable[..., None], algorithm: str
) -> None:
    environment(JWT_ALGORITHMS=algorithm)
    key = ed448.Ed448PrivateKey.generate()
    provider.publish(jwk(PRIVATE["EdDSA"], "EdDSA", kid="two"), jwk(key, "EdDSA"))
    assert get(client, signed(algorithm, kid="two")) == 200
    assert get(client, signed(algorithm, key)) == 401


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://other.example"},
        {"aud": "them"},
        {"iss": ...},
        {"aud": ...},
        {"exp": 1},
    ],
)
def test_a_token_of_the_provider_that_was_not_made_for_us_is_a_401(
    client: Client, provider: Provider, changes: dict[str, Any]
) -> None:
    provider.publish(jwk(RSA, "RS256"))
    assert get(client, signed(**changes)) == 401


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
def test_a_key_that_verifies_nothing_does_not_hide_the_good_one(client: Client, provider: Provider, unfit: Any) -> None:
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
def test_where_only_unfit_keys_are_published_it_is_a_500(
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
def test_nonsense_is_a_500_and_the_log_names_the_setting(
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
        "JWT_JWKS_URL cannot be fetched (HTTP 500): check it."
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


# How an answer is read: within a bound of bytes and of time, and from nobody but the host of the URL.


@pytest.fixture
def speaking(environment: Callable[..., None]) -> Iterator[Callable[..., Speaker]]:
    """Have a provider that speaks these bytes instead of an HTTP server."""
    with contextlib.ExitStack() as until:

        def make(parts: Iterable[bytes], pause: float = 0.0, scheme: str = "http") -> Speaker:
            made = Speaker(parts, pause)
            until.callback(made.close)
            url = f"{scheme}://127.0.0.1:{made.port}/jwks.json"
            environment(AUTHORIZER_SECRET=None, JWT_JWKS_URL=url, JWT_ISSUER=ISSUER, JWT_AUDIENCE=AUDIENCE)
            return made

        yield make


def fetch_fails() -> str:
    """Return why keys cannot be fetched."""
    with pytest.raises(KeysUnavailable) as raised:
        source.fetch(settings.from_environment())
    return str(raised.value)


OK = b"HTTP/1.1 200 OK\r\n"


def test_a_provider_that_sends_byte_by_byte_is_left_at_the_deadline(speaking: Callable[..., Speaker]) -> None:
    start = OK + b"Content-Length: 1000000\r\n\r\n"
    made = speaking(itertools.chain([start], itertools.repeat(b" ")), 0.25)  # within a socket's own timeout
    assert fetch_fails() == "JWT_JWKS_URL cannot be fetched (TimeoutError): check it."
    assert made.gone.wait(20)
    assert made.sent < len(start) + 100


def test_a_key_set_without_an_end_is_too_large(speaking: Callable[..., Speaker]) -> None:
    speaking(itertools.chain([OK + b"\r\n"], itertools.repeat(b" " * 65536)))
    assert fetch_fails() == "JWT_JWKS_URL cannot be fetched (AnswerTooLarge): check it."


@pytest.mark.parametrize(("padding", "status"), [(1_000_000, 200), (1024 * 1024, 500)])
def test_a_key_set_may_have_a_mebibyte(client: Client, provider: Provider, padding: int, status: int) -> None:
    provider.answer = (200, json.dumps({"keys": [jwk(RSA, "RS256")]}).encode() + b" " * padding)
    assert get(client, signed()) == status


def test_a_fetch_leaves_no_thread_and_its_connection_is_closed(speaking: Callable[..., Speaker]) -> None:
    document = json.dumps({"keys": [jwk(RSA, "RS256")]}).encode()
    made = speaking([OK + b"Content-Length: %d\r\n\r\n" % len(document) + document])  # and then it waits
    assert [key.id for key in source.fetch(settings.from_environment()).keys] == ["one"]
    assert made.gone.wait(20)


def test_a_provider_that_answers_no_http_is_named_by_kind(speaking: Callable[..., Speaker]) -> None:
    speaking([b"SSH-2.0-OpenSSH\r\n"])
    assert fetch_fails() == "JWT_JWKS_URL cannot be fetched (BadStatusLine): check it."


@pytest.mark.parametrize("body", [b"{", b"no json", b"\xff", b"[" * 100_000])
def test_a_provider_that_answers_no_json_has_no_key(speaking: Callable[..., Speaker], body: bytes) -> None:
    speaking([OK + b"Content-Length: %d\r\n\r\n" % len(body) + body])
    assert fetch_fails() == "JWT_JWKS_URL has no key for JWT_ALGORITHMS (RS256): check both."


def test_a_provider_that_begins_no_tls_is_not_waited_for(speaking: Callable[..., Speaker]) -> None:
    made = speaking([], scheme="https")
    assert fetch_fails() == "JWT_JWKS_URL cannot be fetched (TimeoutError): check it."
    assert made.gone.wait(20)


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("/jwks.json?tenant=a%20b&v=2#fragment", "/jwks.json?tenant=a%20b&v=2"),
        ("/jwks.json", "/jwks.json"),
        ("", "/"),
        ("?v=2", "/?v=2"),
    ],
)
def test_the_url_is_asked_for_as_it_is_written(
    client: Client, provider: Provider, environment: Callable[..., None], written: str, asked: str
) -> None:
    environment(JWT_JWKS_URL=provider.url.replace("/jwks.json", written))
    provider.publish(jwk(RSA, "RS256"))
    assert get(client, signed()) == 200
    assert provider.asked == asked


def test_a_redirect_is_not_followed(client: Client, provider: Provider) -> None:
    provider.answer = (302, json.dumps({"keys": [jwk(RSA, "RS256")]}).encode())
    assert get(client, signed()) == 500
    assert provider.fetches == 1


def test_no_proxy_is_asked(client: Client, provider: Provider, environment: Callable[..., None]) -> None:
    environment(**dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"), "http://127.0.0.1:9"))
    provider.publish(jwk(RSA, "RS256"))
    assert get(client, signed()) == 200


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a certificate that signs itself, for this name; return its file and its key's."""
    key, subject = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 1)
        .not_valid_before(now - timedelta(1))
        .not_valid_after(now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "certificate").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "key").write_bytes(key.private_bytes(*plain))
    return folder / "certificate", folder / "key"


@pytest.mark.parametrize(
    ("name", "trusted", "outcome"),
    [("localhost", True, "one"), ("localhost", False, "SSLCertVerificationError"), ("other", True, "SSLCertVerif")],
)
def test_over_tls_the_certificate_must_be_trusted_and_the_hosts(
    provider: Provider, environment: Callable[..., None], tmp_path: Path, name: str, trusted: bool, outcome: str
) -> None:
    shown, key = certificate(tmp_path, name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown, key)
    provider.server.socket = context.wrap_socket(provider.server.socket, server_side=True)
    provider.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that trusts nobody leaves
    provider.publish(jwk(RSA, "RS256"))
    environment(JWT_JWKS_URL=provider.url.replace("http://127.0.0.1", "https://localhost"))
    environment(SSL_CERT_FILE=str(shown) if trusted else None)
    if outcome == "one":
        assert [key.id for key in source.fetch(settings.from_environment()).keys] == ["one"]
    else:
        assert f"cannot be fetched ({outcome}" in fetch_fails()


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


def test_a_new_key_is_fetched_when_its_kid_comes_and_not_more_often(client: Client, provider: Provider) -> None:
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
