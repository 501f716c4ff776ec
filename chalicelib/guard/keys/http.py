"""HTTP with bounds on time and bytes, and GetSecretValue by it: an AWS SDK's import is most of a cold start."""

# GetSecretValue here knows what Lambda gives a function: credentials and a Region in the environment. For all else
# there is boto3. There is no proxy and no redirect.

import hashlib
import hmac
import json
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

#: Seconds, each: to connect, to shake hands (in all, as Python counts it), for each read.
TIMEOUT = 2.0
#: For all labels together, in seconds.
DEADLINE = 5.0
ATTEMPTS = 2
TARGET = "secretsmanager.GetSecretValue"
#: A secret has 64 KiB at most, of which JSON makes six times as much at most.
ANSWER_BYTES = 512 * 1024
#: What AWS calls a request that came too soon, with status 400.
THROTTLED = ("Throttling", "ThrottlingException", "ThrottledException", "TooManyRequestsException", "SlowDown")
# Regions of the partitions aws, aws-us-gov, aws-cn and aws-eusc, and the domains of the last two.
_REGION = re.compile("(us-gov|us|eu|ap|sa|ca|me|af|il|mx|cn|eusc-de)-[a-z]+-[0-9]+")
_DOMAINS = {"cn": "amazonaws.com.cn", "eusc": "amazonaws.eu"}
# No user, no query, no dots in the path, which is signed as it is sent. A port above 65535 fails when it is used.
_URL = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:]+])(:[0-9]+)?(/[A-Za-z0-9_~-]+)*/?")
# In any letter case, set to more than nothing, they ask for more than this module knows. Whether NO_PROXY excepts
# the host is left to boto3 as well.
_LEFT_TO_BOTO3 = (
    "HTTP_PROXY AWS_PROFILE AWS_DEFAULT_PROFILE AWS_CONFIG_FILE AWS_SECURITY_TOKEN "
    "AWS_SHARED_CREDENTIALS_FILE AWS_USE_FIPS_ENDPOINT AWS_USE_DUALSTACK_ENDPOINT AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"
).split()
#: An answer, or the code of why there is none: AWS's, or HTTP and the status, or the name of an error.
Answer = dict[str, Any] | str
Answers = dict[str, Answer]
#: The variables of an environment, or the headers of a request.
Texts = Mapping[str, str]


class Unsupported(Exception):
    """This environment is for boto3. The text names the variable, never its value."""


def _require(satisfied: object, otherwise: str) -> None:
    if not satisfied:
        raise Unsupported(otherwise)


class Signer(NamedTuple("Signer", [("access_key", str), ("secret_key", str), ("session_token", str), ("region", str)])):
    """Who calls, and where: visible ASCII each, so that nothing in it ends a header. The token may be empty."""

    __repr__ = object.__repr__  # which shows none of it


class _Passing(HTTPException):
    pass


def get_secret_values(secret_id: str, labels: Sequence[str], environment: Texts, seconds: float = DEADLINE) -> Answers:
    """Return each label's answer, its VersionId a str, or why there is none; Unsupported before anything is sent."""
    signer, end = signer_of(environment), time.monotonic() + seconds  # the resolver may take its own time besides
    url = endpoint(environment, signer.region)
    trusted = trust(environment) if url.scheme == "https" else None
    answers: Answers = {}
    for attempt in range(ATTEMPTS):
        time.sleep(attempt * os.urandom(1)[0] / 1000)  # so that not all come back at once
        try:
            with connected(url, trusted, max(0.001, end - time.monotonic())) as connection:
                for label in labels[len(answers) :]:
                    answers[label] = _ask(connection, url, {"SecretId": secret_id, "VersionStage": label}, signer)
                return answers
        except (OSError, HTTPException, ValueError) as error:  # ValueError: a host's or a chunk's text
            # The name alone, for the error can hold the secret.
            failure = str(error) if isinstance(error, _Passing) else type(error).__name__
    return dict.fromkeys(labels, failure) | answers


def signer_of(environment: Texts) -> Signer:
    """Return the static credentials and the Region; raise Unsupported if there are none, or others could apply."""
    for name, value in environment.items():
        _require(name.upper() not in _LEFT_TO_BOTO3 or value in {"", os.devnull}, f"{name} is set")
    # Some emulators set no other.
    environment = {"AWS_REGION": environment.get("AWS_DEFAULT_REGION", ""), **environment}
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION")
    for name in names:
        usable = re.fullmatch("[!-~]*" if name == "AWS_SESSION_TOKEN" else "[!-~]+", environment.get(name, ""))
        _require(usable, f"{name} is not set, or not visible ASCII")
    return Signer(*(environment.get(name, "") for name in names))


def endpoint(environment: Texts, region: str) -> SplitResult:
    """Return Secrets Manager's URL, the environment's or the Region's; raise Unsupported."""
    url = environment.get("AWS_ENDPOINT_URL_SECRETS_MANAGER") or environment.get("AWS_ENDPOINT_URL")
    if not url:
        _require(_REGION.fullmatch(region), "AWS_REGION is in no partition that is known here")
        url = f"https://secretsmanager.{region}.{_DOMAINS.get(region.partition('-')[0], 'amazonaws.com')}"
    _require(_URL.fullmatch(url), "AWS_ENDPOINT_URL is not a plain URL")
    return urlsplit(url + "/" * (url.count("/") == 2))  # a request has a path


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
    """Return what verifies a server's certificate and host name; raise Unsupported where the default is not wanted."""
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "HTTPS_PROXY", "https_proxy"):
        _require(not environment.get(name), f"{name} is set")
    context = ssl.create_default_context()  # it verifies both, and asks for TLS 1.2
    if not context.cert_store_stats()["x509_ca"]:
        from importlib.util import find_spec  # here, for there mostly is a default trust store

        folders = getattr(find_spec("botocore"), "submodule_search_locations", None) or [""]
        context.load_verify_locations(f"{folders[0]}/cacert.pem")
    return context


def _ask(connection: HTTPConnection, url: SplitResult, question: Texts, signer: Signer) -> Answer:
    # Return the answer; raise _Passing with its code for one that is worth asking again.
    headers = {"host": url.netloc, "content-type": "application/x-amz-json-1.1", "x-amz-target": TARGET}
    body = json.dumps(question).encode()
    signed = signed_headers(headers, url.path, body, signer, "secretsmanager", time.time())
    status, content = exchange(connection, url.path, signed, ANSWER_BYTES, body)
    members = json_object(content)
    if status == 200:
        return members if isinstance(members.get("VersionId"), str) else "MalformedAnswer"
    # It can read com.amazonaws.secretsmanager#DecryptionFailure or DecryptionFailure:http://...
    code = str(members.get("__type") or "").partition(":")[0].rpartition("#")[2]
    # Letters alone, so that nothing that a server may echo gets into a log.
    plain = code if re.fullmatch("[A-Za-z]{1,64}", code) else f"HTTP {status}"
    if status >= 500 or code in THROTTLED:
        raise _Passing(plain)
    return plain


# HTTP.


class AnswerTooLarge(HTTPException):
    """The answer has more bytes than it may have."""


@contextmanager
def connected(url: SplitResult, trusted: ssl.SSLContext | None, seconds: float) -> Iterator[HTTPConnection]:
    """Yield a connection that ends after so many seconds: TimeoutError, however slowly bytes come."""
    end, host, each = time.monotonic() + seconds, url.hostname or "", min(TIMEOUT, seconds)
    connection = HTTPConnection(host, url.port, each)
    if trusted is not None:
        connection = HTTPSConnection(host, url.port, timeout=each, context=trusted)
    connection.connect()
    opened, connection.auto_open = connection.sock, 0

    def shut() -> None:
        with suppress(OSError):  # not SSLSocket's own, after which it would read without TLS
            socket.socket.shutdown(opened, socket.SHUT_RDWR)

    # A socket's own timeout starts again with each byte, so a slow server could hold the caller for long.
    watch = threading.Timer(end - time.monotonic(), shut)
    watch.start()
    try:
        yield connection
    except (OSError, HTTPException) as error:
        raise error if time.monotonic() < end else TimeoutError() from None
    finally:
        watch.cancel()
        connection.close()


def exchange(connection: HTTPConnection, url: str, headers: Texts, most: int, body: bytes = b"") -> tuple[int, bytes]:
    """GET, or POST a body; return status and body. OSError, HTTPException or ValueError if there is no whole answer."""
    connection.request("POST" if body else "GET", url, body or None, headers)
    with connection.getresponse() as response:  # else it would keep the socket open until it is collected
        content = b""
        # Not `read`, which takes a chunk of length -1 for all that ever comes.
        while len(content) <= most and (part := response.read1(65536)):
            content += part
        if len(content) > most:
            raise AnswerTooLarge
        if response.length != 0 and not response.chunked:  # http.client does not mind what is cut off
            raise IncompleteRead(b"")
        return response.status, content


def json_object(text: Any) -> dict[str, Any]:
    """Return the members of a JSON object; of all else none."""
    with suppress(TypeError, ValueError, RecursionError):
        members = json.loads(text)
        return members if isinstance(members, dict) else {}
    return {}
