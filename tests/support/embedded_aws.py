"""The embedded AWS: ministack in a process of its own on loopback, with IAM enforced.

In front of it is an adapter for the two calls of API Gateway that `chalice deploy` makes and ministack does
not serve, ImportRestApi and PutRestApi: it translates a Swagger document into calls that ministack has. Of Secrets
Manager it adds CancelRotateSecret, and what DescribeSecret says after it. GetFunctionConfiguration it answers when the
function is ready. All else passes through unchanged.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
from botocore.config import Config

REGION = "eu-central-1"
ACCOUNT = "000000000000"
START_SECONDS = 30


class EmbeddedAws:
    """A running embedded AWS. `endpoint_url` serves all of it; `logs` is the file that it writes to."""

    def __init__(self, port: int, adapter_port: int, logs: Path) -> None:
        self.port = port
        self.endpoint_url = f"http://127.0.0.1:{adapter_port}"
        self.logs = logs

    def environment(self, **more: str) -> dict[str, str]:
        """Return what a process needs to have this for its AWS, and nothing of the real one."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
        pip = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "REQUESTS_"))}
        return {
            **kept,
            **pip,
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            **more,
        }

    def client(self, service: str, **credentials: str) -> Any:
        return _client(service, self.endpoint_url, **credentials)

    def api_url(self, api_id: str, stage: str) -> str:
        """Return where the emulated API Gateway serves this stage of this API."""
        return f"http://127.0.0.1:{self.port}/restapis/{api_id}/{stage}/_user_request_"


_MAKING = threading.Lock()


def _client(service: str, endpoint_url: str, **credentials: str) -> Any:
    with _MAKING:  # clients may be shared by threads; boto3 cannot make two at once
        return _made(service, endpoint_url, **credentials)


@functools.cache
def _made(service: str, endpoint_url: str, **credentials: str) -> Any:
    given = credentials or {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=60)
    return boto3.client(service, region_name=REGION, endpoint_url=endpoint_url, config=config, **given)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(**settings: str) -> Iterator[EmbeddedAws]:
    """Start the embedded AWS on free ports; stop it, and all that it started, at the end."""
    os.environ.pop("AWS_PROFILE", None)  # a profile that is set but not there would stop our own clients
    with tempfile.TemporaryDirectory(prefix="embedded-aws-") as folder:
        port, logs = free_port(), Path(folder) / "log"
        lambda_runtime(Path(folder) / "lambda-runtime")
        # A bare environment, so that nothing of this process's reaches a Lambda function.
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        environment |= {
            "GATEWAY_PORT": str(port),
            "BIND_HOST": "127.0.0.1",
            "AUTH": "true",
            "MINISTACK_REGION": REGION,
            "TMPDIR": folder,
            "PYTHONPATH": str(Path(folder) / "lambda-runtime"),
            "STATE_DIR": str(Path(folder) / "state"),
            "AWS_EC2_METADATA_DISABLED": "true",
            **settings,
        }
        with logs.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "ministack"],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        adapter = _AdapterServer(("127.0.0.1", 0), _adapter(port))
        threading.Thread(target=adapter.serve_forever, daemon=True).start()
        try:
            _wait_for(process, port, logs)
            yield EmbeddedAws(port, adapter.server_address[1], logs)
        finally:
            adapter.shutdown()
            adapter.server_close()
            _stop(process)


#: What AWS's Python runtime has beside the standard library: the AWS SDK and what it needs, and the runtime client.
SDK = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six", "urllib3")
RUNTIME_CLIENT = (
    ("awslambdaric", "runtime_client", "simplejson", "snapshot_restore_py") if sys.platform == "linux" else ()
)


def lambda_runtime(folder: Path) -> None:
    """Let a Lambda function import what Lambda has and what was deployed, and nothing of this virtual environment.

    ministack runs functions with its own Python. A `sitecustomize` that only they act on takes away the rest.
    """
    sdk = folder / "sdk"
    sdk.mkdir(parents=True)
    for name in SDK + RUNTIME_CLIENT:
        found = importlib.util.find_spec(name)
        assert found is not None
        assert found.origin is not None
        origin = Path(found.origin)
        source = origin.parent if origin.name == "__init__.py" else origin
        (sdk / source.name).symlink_to(source)
    (folder / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if 'AWS_LAMBDA_FUNCTION_NAME' in os.environ:\n"
        "    sys.path[:] = [place for place in sys.path if 'site-packages' not in place]\n"
        f"    sys.path.append({str(sdk)!r})\n"
    )


def _wait_for(process: subprocess.Popen[bytes], port: int, logs: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"the embedded AWS did not start:\n{logs.read_text()[-2000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class _AdapterServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # a client that went away, as at Ctrl-C, is no error


def _adapter(port: int) -> type[BaseHTTPRequestHandler]:
    cancelled: set[str] = set()  # ARNs of secrets

    class Adapter(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            url = urlsplit(self.path)
            mode = parse_qs(url.query).get("mode", [""])[0]
            if (self.command, url.path.rstrip("/"), mode) == ("POST", "/restapis", "import"):
                self.reply_with(json.loads(body), None)
            elif self.command == "PUT" and mode == "overwrite" and url.path.count("/") == 2:
                self.reply_with(json.loads(body), url.path.rpartition("/")[2])
            else:
                action = self.headers.get("X-Amz-Target", "").removeprefix("secretsmanager.")
                if action == "CancelRotateSecret":
                    secrets = _client("secretsmanager", f"http://127.0.0.1:{port}")
                    found = secrets.describe_secret(SecretId=json.loads(body)["SecretId"])
                    cancelled.add(found["ARN"])
                    self.send({"ARN": found["ARN"], "Name": found["Name"]})
                else:
                    self.pass_through(body, action)

        def as_cancelled(self, action: str, content: bytes) -> bytes:
            described = json.loads(content) if action in {"RotateSecret", "DescribeSecret"} else {}
            if action == "RotateSecret":
                cancelled.discard(described.get("ARN"))
            elif described.get("ARN") in cancelled:
                return json.dumps({**described, "RotationEnabled": False}).encode()
            return content

        def reply_with(self, swagger: dict[str, Any], api_id: str | None) -> None:
            gateway = _client("apigateway", f"http://127.0.0.1:{port}")
            if api_id is None:
                title = swagger["info"]["title"]
                types = {"types": ["REGIONAL"]}
                api_id = gateway.create_rest_api(name=title, endpointConfiguration=types)["id"]
            _overwrite(gateway, api_id, swagger)
            self.send({"id": api_id, "name": swagger["info"]["title"]})

        def send(self, members: dict[str, Any]) -> None:
            answer = json.dumps(members).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def pass_through(self, body: bytes, action: str) -> None:
            status, headers, content = self.passed_on(body)
            # A function is pending for half a second after each change; Chalice would ask again in five.
            asked = self.command == "GET" and self.path.endswith("/configuration")
            while asked and b'"LastUpdateStatus": "InProgress"' in content:
                time.sleep(0.05)
                status, headers, content = self.passed_on(body)
            content = self.as_cancelled(action, content)
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in {
                    "transfer-encoding",
                    "content-length",
                    "date",
                    "server",
                    "connection",
                }:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def passed_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            try:
                # The Host header stays as the client sent it: the request is signed with it.
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() != "expect":
                        connection.putheader(name, value)
                connection.endheaders(body)
                answer = connection.getresponse()
                return answer.status, answer.getheaders(), answer.read()
            finally:
                connection.close()

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = answer  # noqa: N815  # http.server's names

        def log_message(self, *_: object) -> None:
            """Say nothing: what matters is in the embedded AWS's log."""

    return Adapter


def _overwrite(gateway: Any, api_id: str, swagger: dict[str, Any]) -> None:
    """Make the API what the document says, and nothing beyond, as PutRestApi does in mode overwrite."""
    resources = gateway.get_resources(restApiId=api_id, limit=500)["items"]
    ids = {"/": next(item["id"] for item in resources if item["path"] == "/")}
    for item in sorted(resources, key=lambda item: -item["path"].count("/") * (item["path"] != "/")):
        if item["path"] != "/":
            gateway.delete_resource(restApiId=api_id, resourceId=item["id"])
        for method in item.get("resourceMethods", {}) if item["path"] == "/" else ():
            gateway.delete_method(restApiId=api_id, resourceId=item["id"], httpMethod=method)
    for old in gateway.get_gateway_responses(restApiId=api_id)["items"]:
        if not old["defaultResponse"]:
            gateway.delete_gateway_response(restApiId=api_id, responseType=old["responseType"])
    for old in gateway.get_authorizers(restApiId=api_id)["items"]:
        gateway.delete_authorizer(restApiId=api_id, authorizerId=old["id"])

    authorizers = {
        name: _authorizer(gateway, api_id, name, scheme)
        for name, scheme in swagger.get("securityDefinitions", {}).items()
        if "x-amazon-apigateway-authorizer" in scheme
    }
    for path, methods in swagger["paths"].items():
        for method, operation in methods.items():
            resource = _resource(gateway, api_id, ids, path)
            where = {"restApiId": api_id, "resourceId": resource, "httpMethod": method.upper()}
            _method(gateway, where, operation, authorizers)
    for kind, answer in swagger.get("x-amazon-apigateway-gateway-responses", {}).items():
        status = {"statusCode": str(answer["statusCode"])} if "statusCode" in answer else {}
        gateway.put_gateway_response(
            restApiId=api_id,
            responseType=kind,
            responseParameters=answer.get("responseParameters", {}),
            responseTemplates=answer.get("responseTemplates", {}),
            **status,
        )


def _authorizer(gateway: Any, api_id: str, name: str, scheme: dict[str, Any]) -> str:
    given = scheme["x-amazon-apigateway-authorizer"]
    made = gateway.create_authorizer(
        restApiId=api_id,
        name=name,
        type=given["type"].upper(),
        authorizerUri=given["authorizerUri"],
        identitySource=f"method.request.header.{scheme['name']}",
        authorizerResultTtlInSeconds=given.get("authorizerResultTtlInSeconds", 300),
    )
    return str(made["id"])


def _resource(gateway: Any, api_id: str, ids: dict[str, str], path: str) -> str:
    if path not in ids:
        parent, _, part = path.rpartition("/")
        above = _resource(gateway, api_id, ids, parent or "/")
        ids[path] = gateway.create_resource(restApiId=api_id, parentId=above, pathPart=part)["id"]
    return ids[path]


def _method(gateway: Any, where: dict[str, str], operation: dict[str, Any], authorizers: dict[str, str]) -> None:
    guards = [authorizers[name] for scheme in operation.get("security", []) for name in scheme if name in authorizers]
    guard = {"authorizationType": "CUSTOM", "authorizerId": guards[0]} if guards else {"authorizationType": "NONE"}
    gateway.put_method(**where, **guard)
    integration = operation["x-amazon-apigateway-integration"]
    uri = (
        {"uri": integration["uri"], "integrationHttpMethod": integration["httpMethod"]} if "uri" in integration else {}
    )
    templates = {"requestTemplates": integration["requestTemplates"]} if "requestTemplates" in integration else {}
    gateway.put_integration(**where, type=integration["type"].upper(), **uri, **templates)
    if integration["type"] == "mock":  # Chalice's answer to a CORS preflight
        for status, response in operation["responses"].items():
            parameters = {f"method.response.header.{name}": False for name in response.get("headers", {})}
            gateway.put_method_response(**where, statusCode=status, responseParameters=parameters)
        for response in integration["responses"].values():
            gateway.put_integration_response(
                **where,
                statusCode=response["statusCode"],
                responseParameters=response.get("responseParameters", {}),
            )
