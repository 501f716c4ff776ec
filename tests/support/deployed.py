"""A stage on the embedded AWS: the commands that an operator runs for it, the requests of its clients, its logs."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt

from tests.support import aws_runtime
from tests.support.embedded_aws import EmbeddedAws


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Deployed:
    """A stage on the embedded AWS. `secret_id` names its secret there."""

    aws: EmbeddedAws
    project: Path
    stage: str
    secret_id: str
    printed: str = ""  # by `manage.py deploy`
    without: tuple[str, ...] = ()  # these variables
    api_stage: str = ""  # the name in the API's URL, where it is another

    def run(self, *command: str) -> str:
        """Run a command in the project, for which the embedded AWS is AWS; return what it prints."""
        variables = {name: value for name, value in self.aws.environment().items() if name not in self.without}
        done = subprocess.run(command, cwd=self.project, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def manage(self, *words: str) -> str:
        return self.run(sys.executable, "manage.py", *words)

    def chalice(self, *words: str) -> str:
        return self.run(str(Path(sys.executable).with_name("chalice")), *words)

    @property
    def resources(self) -> dict[str, dict[str, str]]:
        """Return what Chalice says that it has deployed, by name."""
        text = (self.project / ".chalice" / "deployed" / f"{self.stage}.json").read_text()
        return {resource["name"]: resource for resource in json.loads(text)["resources"]}

    @property
    def api_id(self) -> str:
        return self.resources["rest_api"]["rest_api_id"]

    def signing_key(self) -> str:
        value = self.aws.client("secretsmanager").get_secret_value(SecretId=self.secret_id)
        return str(json.loads(value["SecretString"])["my_secret_key"])

    def token(self, *roles: str, key: str | None = None, **changes: Any) -> str:
        """Return a good token that no other request has used: its result is in no cache."""
        unique = f"{time.time_ns()}"
        claims = {"sub": "alice", "roles": list(roles), "exp": int(time.time()) + 600, "jti": unique, **changes}
        claims = {name: value for name, value in claims.items() if value is not ...}
        return jwt.encode(claims, key or self.signing_key(), algorithm="HS256")

    def ask(self, method: str, token: str | None = None, path: str = "/items", body: bytes | None = None) -> Answer:
        url = urlsplit(self.aws.api_url(self.api_id, self.api_stage or self.stage) + path)
        headers = {"Content-Type": "application/json"} | ({} if token is None else {"Authorization": token})
        if method == "POST" and body is None:
            body = b'{"key":"value"}'
        connection = http.client.HTTPConnection(url.netloc, timeout=60)
        try:
            connection.request(method, url.path, body, headers)
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, named, answer.read())
        finally:
            connection.close()

    def function(self, name: str) -> str:
        """Return the deployed name of `api_handler` or `jwt_authorizer`."""
        return self.resources[name]["lambda_arn"].rpartition(":")[2]

    def log(self, name: str) -> list[str]:
        """Return all that the function has written to CloudWatch Logs."""
        logs = self.aws.client("logs")
        group = f"/aws/lambda/{self.function(name)}"
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
        try:
            return [line for page in pages for event in page["events"] for line in event["message"].splitlines()]
        except logs.exceptions.ResourceNotFoundException:  # its first line makes the group, a moment after the answer
            return []

    def decisions(self, name: str) -> list[dict[str, Any]]:
        """Return the function's decision log, oldest line first."""
        lines = [json.loads(line) for line in self.log(name) if line.startswith('{"time"')]
        return sorted(lines, key=lambda line: str(line["time"]))

    def decision(self, name: str, **due: Any) -> dict[str, Any]:
        """Return the one decision of the function that is as due; on a busy machine its line comes a while later."""
        for _ in range(50):
            found = [line for line in self.decisions(name) if all(line.get(member) == due[member] for member in due)]
            if found:
                (line,) = found
                return line
            time.sleep(0.2)
        raise AssertionError(f"no line of {due}: {self.decisions(name)[-5:]}")

    def restart(self, name: str, **variables: str) -> None:
        """Give the function a new execution environment, as Lambda does when its configuration changes.

        An empty variable is an unset one to it.
        """
        aws_runtime.restart(self.aws, self.function(name), **variables)

    def invoke(self, name: str, event: dict[str, Any]) -> dict[str, Any] | None:
        """Invoke the function itself, past the gateway; return what it answers, or the error that it raised."""
        answer = self.aws.client("lambda").invoke(FunctionName=self.function(name), Payload=json.dumps(event))
        decoded: dict[str, Any] | None = json.load(answer["Payload"])
        return decoded
