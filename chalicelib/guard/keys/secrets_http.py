"""GetSecretValue of AWS Secrets Manager without an AWS SDK, whose import is most of a cold start."""

# It knows what Lambda gives a function: credentials and a Region in the environment. For all else there is boto3.

import hashlib
import hmac
import json
import os
import re
import ssl
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPException
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from chalicelib.guard.keys.http_exchange import connected, exchange

#: For all labels together, in seconds.
DEADLINE = 5.0
ATTEMPTS = 2
TARGET = "secretsmanager.GetSecretValue"
#: A secret has 64 KiB at most, of which JSON makes six times as much at most.
ANSWER_BYTES = 512 * 1024
#: What AWS calls a request that came too soon, with status 400.
THROTTLED = ("Throttling", "ThrottlingException", "ThrottledException", "TooManyRequestsException", "SlowDown")
#: Regions and the domain of their partition: aws and aws-us-gov, aws-cn, aws-eusc.
PARTITIONS = {
    "(us-gov|us|eu|ap|sa|ca|me|af|il|mx)-[a-z]+-[0-9]+": "amazonaws.com",
    "cn-[a-z]+-[0-9]+": "amazonaws.com.cn",
    "eusc-de-[a-z]+-[0-9]+": "amazonaws.eu",
}
# No user, no query, no dots in the path, which is signed as it is sent. A port above 65535 fails when it is used.
_URL = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:]+])(:[0-9]+)?(/[A-Za-z0-9_~-]+)*/?")
# Set to more than nothing, they ask for more than this module knows.
_LEFT_TO_BOTO3 = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")


class CallFailed(NamedTuple):
    """No answer. `code` is AWS's, or HTTP and the status, or the name of what failed; nothing else is in it."""

    code: str


Texts = Mapping[str, str]
Answer = dict[str, Any] | CallFailed
Answers = dict[str, Answer]


class Unsupported(Exception):
    """This environment is for boto3. The text names the variable, never its value."""


def _require(satisfied: object, otherwise: str) -> None:
    if not satisfied:
        raise Unsupported(otherwise)


class Signer(NamedTuple("Signer", [("access_key", str), ("secret_key", str), ("session_token", str), ("region", str)])):
    """Who calls, and where: visible ASCII each, so that nothing in it ends a header. The token may be empty."""

    __repr__ = object.__repr__  # which shows none of it


def get_secret_values(secret_id: str, labels: Sequence[str], environment: Texts, seconds: float = DEADLINE) -> Answers:
    """Return each label's answer, its VersionId a str, or why there is none; Unsupported before anything is sent."""
    signer, end = signer_of(environment), time.monotonic() + seconds  # the resolver may take its own time besides
    url = endpoint(environment, signer.region)
    trusted = trust(environment) if url.scheme == "https" else None
    bodies = {label: json.dumps({"SecretId": secret_id, "VersionStage": label}).encode() for label in labels}
    answers: Answers = {}
    connection: HTTPConnection | None = None
    with ExitStack() as opened:
        for label, body in bodies.items():
            for attempt in range(ATTEMPTS):
                try:
                    time.sleep(attempt * os.urandom(1)[0] / 1000)  # so that not all come back at once
                    if connection is None or connection.sock is None:  # the server may close it after an answer
                        connection = opened.enter_context(connected(url, trusted, max(0.001, end - time.monotonic())))
                    answers[label], passing = _ask(connection, url, body, signer)
                except (OSError, HTTPException, ValueError) as error:  # ValueError: a host's or a chunk's text
                    # The name alone, for the error can hold the secret.
                    name = type(error).__name__ if time.monotonic() < end else "TimeoutError"
                    answers[label], passing, connection = CallFailed(name), True, None
                if not passing:
                    break
    return answers


def signer_of(environment: Texts) -> Signer:
    """Return the static credentials and the Region; raise Unsupported if there are none, or others could apply."""

    def one_of(pattern: str, *names: str) -> str:
        name = next(filter(environment.get, names), names[0])
        _require(re.fullmatch(pattern, environment.get(name, "")), f"{name} is not set, or not visible ASCII")
        return environment.get(name, "")

    for name in _LEFT_TO_BOTO3:
        _require(environment.get(name, "") in {"", os.devnull}, f"{name} is set")
    key, secret = one_of("[!-~]+", "AWS_ACCESS_KEY_ID"), one_of("[!-~]+", "AWS_SECRET_ACCESS_KEY")
    token = one_of("[!-~]*", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")  # in botocore's order
    return Signer(key, secret, token, one_of("[!-~]+", "AWS_REGION", "AWS_DEFAULT_REGION"))


def endpoint(environment: Texts, region: str) -> SplitResult:
    """Return Secrets Manager's URL, the environment's or the Region's; raise Unsupported, with a proxy too."""
    on = {name for name, value in environment.items() if value.lower() == "true"}
    url = environment.get("AWS_ENDPOINT_URL_SECRETS_MANAGER") or environment.get("AWS_ENDPOINT_URL")
    fips = "AWS_USE_FIPS_ENDPOINT" in on
    if not url or "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS" in on:
        domain = next((domain for regions, domain in PARTITIONS.items() if re.fullmatch(regions, region)), None)
        _require(domain, "AWS_REGION is in no partition that is known here")
        url = f"https://secretsmanager{'-fips' if fips else ''}.{region}.{domain}"
    else:
        usable = _URL.fullmatch(url) and not fips
        _require(usable, "AWS_ENDPOINT_URL is not a plain URL, or AWS_USE_FIPS_ENDPOINT is set too")
    parts = urlsplit(url)
    # Whether NO_PROXY excepts this host is left to boto3 as well.
    proxies = {name for name, value in environment.items() if value and name.lower() == f"{parts.scheme}_proxy"}
    left = proxies | (on & {"AWS_USE_DUALSTACK_ENDPOINT"})
    _require(not left, f"{', '.join(left)} is set")
    return parts._replace(path=parts.path or "/")


def signed_headers(headers: Texts, path: str, body: bytes, signer: Signer, service: str, now: float) -> dict[str, str]:
    """Return a POST's headers and those that sign them, the path and the body, by AWS Signature Version 4."""
    # Given names are in lower case, values without outer or double spaces, and `host` is one of them.
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    token = {"x-amz-security-token": signer.session_token} if signer.session_token else {}
    headers = dict(sorted({**headers, **token, "x-amz-date": stamp}.items()))
    names, lines = ";".join(headers), [f"{name}:{value}" for name, value in headers.items()]
    request = "\n".join(["POST", path, "", *lines, "", names, hashlib.sha256(body).hexdigest()])
    scope = [stamp[:8], signer.region, service, "aws4_request"]
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, "/".join(scope), hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{signer.secret_key}".encode()
    for part in (*scope, text):
        key = hmac.digest(key, part.encode(), "sha256")
    credential = "/".join([signer.access_key, *scope])
    signature = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={key.hex()}"
    return {**headers, "authorization": signature}


def trust(environment: Texts) -> ssl.SSLContext:
    """Return what verifies a server's certificate and host name; raise Unsupported where there is nothing to trust."""
    bundle = environment.get("AWS_CA_BUNDLE") or None
    _require(bundle or not environment.get("REQUESTS_CA_BUNDLE"), "REQUESTS_CA_BUNDLE is set")  # botocore honours it
    try:
        context = ssl.create_default_context(cafile=bundle)  # it verifies both, and asks for TLS 1.2
        if not bundle and not context.cert_store_stats()["x509_ca"]:
            import importlib.util  # here, for there mostly is a default trust store

            botocore = importlib.util.find_spec("botocore")
            for folder in (botocore and botocore.submodule_search_locations) or [""]:
                context.load_verify_locations(f"{folder}/cacert.pem")
    except (OSError, ValueError):
        raise Unsupported("AWS_CA_BUNDLE is no file of certificates, or unset where there are no others") from None
    return context


def _ask(connection: HTTPConnection, url: SplitResult, body: bytes, signer: Signer) -> tuple[Answer, bool]:
    """Return the answer, and whether to ask again."""
    headers = {"host": url.netloc, "content-type": "application/x-amz-json-1.1", "x-amz-target": TARGET}
    signed = signed_headers(headers, url.path, body, signer, "secretsmanager", time.time())
    status, content = exchange(connection, "POST", url.path, signed, ANSWER_BYTES, body)
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        answer = None
    members = answer if isinstance(answer, dict) else {}
    if status == 200:
        return (members if isinstance(members.get("VersionId"), str) else CallFailed("MalformedAnswer")), False
    # It can read com.amazonaws.secretsmanager#DecryptionFailure or DecryptionFailure:http://...
    code = str(members.get("__type") or "").partition(":")[0].rpartition("#")[2]
    # Letters alone, so that nothing that a server may echo gets into a log.
    plain = re.fullmatch("[A-Za-z]{1,64}", code)
    return CallFailed(code if plain else f"HTTP {status}"), status >= 500 or code in THROTTLED
