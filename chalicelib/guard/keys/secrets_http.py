"""GetSecretValue of AWS Secrets Manager without an AWS SDK, whose import is most of a cold start."""

# It knows what Lambda gives a function: credentials and a Region in the environment. For all else there is boto3.

import hashlib
import hmac
import http.client
import json
import os
import re
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
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


class CallFailed(Exception):
    """No answer. `code` is AWS's, or HTTP and the status, or the name of what failed; nothing else is in it."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Unsupported(Exception):
    """This environment is for boto3. The text names the variable, never its value."""


@dataclass(frozen=True, repr=False)
class Signer:
    """Who calls, and where: visible ASCII each, so that nothing in it ends a header. The token may be empty."""

    access_key: str
    secret_key: str
    session_token: str
    region: str


def get_secret_values(
    secret_id: str, labels: Sequence[str], environment: Mapping[str, str], seconds: float = DEADLINE
) -> dict[str, dict[str, Any] | CallFailed]:
    """Return each label's answer, its VersionId a str, or why there is none; Unsupported before anything is sent."""
    signer, end = signer_of(environment), time.monotonic() + seconds  # the resolver may take its own time besides
    url = endpoint(environment, signer.region)
    trusted = trust(environment) if url.scheme == "https" else None
    bodies = {label: json.dumps({"SecretId": secret_id, "VersionStage": label}).encode() for label in labels}
    answers: dict[str, dict[str, Any] | CallFailed] = {label: CallFailed("TimeoutError") for label in labels}
    for attempt in range(ATTEMPTS):
        try:
            time.sleep(attempt * os.urandom(1)[0] / 1000)  # so that not all come back at once
            with connected(url, trusted, max(0.001, end - time.monotonic())) as connection:
                for label in [*bodies]:
                    answers[label], passing = _ask(connection, url, bodies[label], signer)
                    if not passing:
                        del bodies[label]
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a host's or a chunk's text
            # The name alone, for the error can hold the secret. A connection that was shut fails in many ways.
            name = "TimeoutError" if time.monotonic() >= end else type(error).__name__
            answers |= {label: CallFailed(name) for label in bodies}
        if not bodies or time.monotonic() >= end:
            break
    return answers


def signer_of(environment: Mapping[str, str]) -> Signer:
    """Return the static credentials and the Region; raise Unsupported if there are none, or others could apply."""

    def one_of(pattern: str, *names: str) -> str:
        name = next((name for name in names if environment.get(name)), names[0])
        if not re.fullmatch(pattern, environment.get(name, "")):
            raise Unsupported(f"{name} is not set, or has a space, a line break or a character outside ASCII")
        return environment.get(name, "")

    for name in _LEFT_TO_BOTO3:
        if environment.get(name, "") not in {"", os.devnull}:
            raise Unsupported(f"{name} is set")
    key, secret = one_of("[!-~]+", "AWS_ACCESS_KEY_ID"), one_of("[!-~]+", "AWS_SECRET_ACCESS_KEY")
    token = one_of("[!-~]*", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")  # in botocore's order
    return Signer(key, secret, token, one_of("[!-~]+", "AWS_REGION", "AWS_DEFAULT_REGION"))


def endpoint(environment: Mapping[str, str], region: str) -> SplitResult:
    """Return Secrets Manager's URL, the environment's or the Region's; raise Unsupported, with a proxy too."""
    fips, dual_stack, ignored = (
        environment.get(f"AWS_{name}", "").lower() == "true"
        for name in ("USE_FIPS_ENDPOINT", "USE_DUALSTACK_ENDPOINT", "IGNORE_CONFIGURED_ENDPOINT_URLS")
    )
    url = environment.get("AWS_ENDPOINT_URL_SECRETS_MANAGER") or environment.get("AWS_ENDPOINT_URL")
    if ignored or not url:
        domain = next((domain for regions, domain in PARTITIONS.items() if re.fullmatch(regions, region)), None)
        if domain is None:
            raise Unsupported("AWS_REGION is in no partition that is known here")
        url = f"https://secretsmanager{'-fips' if fips else ''}.{region}.{domain}"
    elif fips or not _URL.fullmatch(url):
        raise Unsupported("AWS_ENDPOINT_URL is not a plain URL, or AWS_USE_FIPS_ENDPOINT is set too")
    parts = urlsplit(url)
    # Whether NO_PROXY excepts this host is left to boto3 as well.
    proxies = [name for name in environment if name.lower() == f"{parts.scheme}_proxy" and environment[name]]
    if dual_stack or proxies:
        raise Unsupported(f"{proxies[0] if proxies else 'AWS_USE_DUALSTACK_ENDPOINT'} is set")
    return parts._replace(path=parts.path or "/")


def signed_headers(
    headers: Mapping[str, str], path: str, body: bytes, signer: Signer, service: str, now: float
) -> dict[str, str]:
    """Return a POST's headers and those that sign them, the path and the body, by AWS Signature Version 4.

    `headers` have names in lower case and values without outer or double spaces, and `host` is one of them.
    """
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


def trust(environment: Mapping[str, str]) -> ssl.SSLContext:
    """Return what verifies a server's certificate and host name; raise Unsupported where there is nothing to trust."""
    bundle = environment.get("AWS_CA_BUNDLE")
    if environment.get("REQUESTS_CA_BUNDLE") and not bundle:
        raise Unsupported("REQUESTS_CA_BUNDLE is set")  # botocore honours it
    try:
        context = ssl.create_default_context(cafile=bundle or None)  # it verifies both, and asks for TLS 1.2
        if not bundle and not context.cert_store_stats()["x509_ca"]:
            import importlib.util  # here, for there mostly is a default trust store

            botocore = importlib.util.find_spec("botocore")
            for folder in (botocore and botocore.submodule_search_locations) or [""]:
                context.load_verify_locations(f"{folder}/cacert.pem")
    except (OSError, ValueError):
        raise Unsupported("AWS_CA_BUNDLE is no file of certificates, or unset where there are no others") from None
    return context


def _ask(
    connection: http.client.HTTPConnection, url: SplitResult, body: bytes, signer: Signer
) -> tuple[dict[str, Any] | CallFailed, bool]:
    """Return the answer, and whether to ask again."""
    headers = {"host": url.netloc, "content-type": "application/x-amz-json-1.1", "x-amz-target": TARGET}
    signed = signed_headers(headers, url.path, body, signer, "secretsmanager", time.time())
    status, content = exchange(connection, "POST", url.path, signed, ANSWER_BYTES, body)
    answer = _read(status, content)
    return answer, status >= 500 or (isinstance(answer, CallFailed) and answer.code in THROTTLED)


def _read(status: int, content: bytes) -> dict[str, Any] | CallFailed:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        answer = None
    members = answer if isinstance(answer, dict) else {}
    if status == 200:
        return members if isinstance(members.get("VersionId"), str) else CallFailed("MalformedAnswer")
    # It can read com.amazonaws.secretsmanager#DecryptionFailure or DecryptionFailure:http://...
    code = str(members.get("__type") or "").partition(":")[0].rpartition("#")[2]
    # Letters alone, so that nothing that a server may echo gets into a log.
    return CallFailed(code if re.fullmatch("[A-Za-z]{1,64}", code) else f"HTTP {status}")
