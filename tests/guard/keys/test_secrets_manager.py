"""Keys out of Secrets Manager and the four steps of a rotation, over HTTP, from a server with versions and labels.

The end-to-end tests hold the same against the embedded AWS. Here every kind of answer is to be had, at once.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from chalice.test import Client

from chalicelib.guard import rotation, settings
from chalicelib.guard.keys import secrets_manager, sources
from chalicelib.guard.keys.cache import KeysUnavailable
from chalicelib.guard.reason import Reason
from chalicelib.guard.tokens import InvalidToken, verify
from tests.conftest import PATH, SECRET, claims, sign

OLD_SECRET = "the-secret-before-it-" + "y" * 40
SECRET_ID = "the-secrets-name"


#: A version whose value is no text.
BINARY = "(binary)"


class SecretsManager:
    """One secret: its versions' texts, and which version has which label. `refuse` maps a label to an error."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.labels: dict[str, str] = {}
        self.refuse: dict[str, tuple[int, str]] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def put(self, version: str, field: Any, label: str, **more: Any) -> None:
        self.texts[version] = json.dumps({"my_secret_key": field, **more})
        self.labels[label] = version

    def key(self, version: str) -> str:
        return str(json.loads(self.texts[version])["my_secret_key"])

    def answer(self, action: str, given: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.asked.append((action, given))
        if given["SecretId"] != SECRET_ID:
            return 400, {"__type": "ResourceNotFoundException"}
        label = given.get("VersionStage", "AWSCURRENT")
        if label in self.refuse:
            status, code = self.refuse[label]
            return status, {"__type": code}
        if action == "DescribeSecret":
            stages: dict[str, list[str]] = {}
            for name, version in self.labels.items():
                stages.setdefault(version, []).append(name)
            return 200, {"VersionIdsToStages": stages}
        if action == "GetSecretValue":
            version = self.labels.get(label, "none")
            if given.get("VersionId", version) != version or version not in self.texts:
                return 400, {"__type": "ResourceNotFoundException"}
            text = self.texts[version]
            return 200, {
                "VersionId": version,
                **({"SecretString": text} if text is not BINARY else {"SecretBinary": ""}),
            }
        if action == "PutSecretValue":
            self.texts[given["ClientRequestToken"]] = given["SecretString"]
            self.labels |= dict.fromkeys(given["VersionStages"], given["ClientRequestToken"])
            return 200, {}
        assert action == "UpdateSecretVersionStage"
        assert self.labels[label] == given["RemoveFromVersionId"]
        self.labels["AWSPREVIOUS"], self.labels[label] = self.labels[label], given["MoveToVersionId"]
        return 200, {}


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, list[SecretsManager]]]:
    """Serve the newest of a list, so that one client of the AWS SDK does for all tests."""
    behind: list[SecretsManager] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = behind[-1].answer(self.headers["X-Amz-Target"].partition(".")[2], given)
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    secrets_manager.client.cache_clear()
    yield f"http://127.0.0.1:{server.server_address[1]}", behind
    secrets_manager.client.cache_clear()
    boto3.DEFAULT_SESSION = None
    server.shutdown()
    server.server_close()


@pytest.fixture
def manager(served: tuple[str, list[SecretsManager]], environment: Callable[..., None]) -> SecretsManager:
    url, behind = served
    behind.append(SecretsManager())
    environment(
        AUTHORIZER_SECRET=None,
        JWT_SECRET_ID=SECRET_ID,
        AWS_ENDPOINT_URL=url,
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
        AWS_DEFAULT_REGION="eu-central-1",
    )
    boto3.setup_default_session()  # the SDK's own has read another test's environment
    return behind[-1]


def key_ids() -> list[str | None]:
    return [key.id for key in sources.fetch(settings.current())]


def refused() -> str:
    with pytest.raises(KeysUnavailable) as trouble:
        sources.fetch(settings.current())
    return str(trouble.value)


# What the authorizer fetches.


def test_the_current_key_comes_first_and_then_the_previous_one_each_with_its_version(manager: SecretsManager) -> None:
    manager.put("v2", SECRET, "AWSCURRENT")
    manager.put("v1", OLD_SECRET, "AWSPREVIOUS")
    current = sources.key_source(settings.current()).current()
    assert [key.id for key in current.keys] == ["v2", "v1"]
    for token in (sign(claims(), SECRET, kid="v2"), sign(claims(), OLD_SECRET, kid="v1"), sign(claims(), OLD_SECRET)):
        assert verify(token, current.keys, settings.current().requirements, claims()["iat"]).subject == "alice"
    with pytest.raises(InvalidToken, match=Reason.BAD_SIGNATURE):
        verify(sign(claims(), SECRET, kid="v1"), current.keys, settings.current().requirements, claims()["iat"])


def test_a_secret_that_was_never_rotated_has_one_key(manager: SecretsManager) -> None:
    manager.put("v1", SECRET, "AWSCURRENT")
    assert key_ids() == ["v1"]


def test_the_previous_version_is_not_even_asked_for_where_the_setting_refuses_it(
    manager: SecretsManager, environment: Callable[..., None]
) -> None:
    environment(JWT_PREVIOUS_KEY="refuse")
    manager.put("v2", SECRET, "AWSCURRENT")
    manager.put("v1", OLD_SECRET, "AWSPREVIOUS")
    assert key_ids() == ["v2"]
    assert [given["VersionStage"] for _, given in manager.asked] == ["AWSCURRENT"]


def test_the_key_is_the_field_that_the_setting_names_for_every_algorithm_that_it_lists(
    manager: SecretsManager, environment: Callable[..., None]
) -> None:
    environment(JWT_SECRET_FIELD="other", JWT_ALGORITHMS="HS256 HS384")
    manager.put("v1", "too-short", "AWSCURRENT", other=SECRET)
    fetched = sources.fetch(settings.current())
    assert [key.jwk.algorithm_name for key in fetched] == ["HS256", "HS384"]


@pytest.mark.parametrize("code", ["AccessDeniedException", "DecryptionFailure", "ResourceNotFoundException"])
def test_a_current_version_that_cannot_be_read_is_a_sentence_with_the_secret_the_code_and_the_mend(
    manager: SecretsManager, code: str
) -> None:
    manager.refuse["AWSCURRENT"] = (400, code)
    told = refused()
    assert told.startswith(f"Secret '{SECRET_ID}' cannot be read ({code}): check that it exists")
    assert told.endswith("role may read it.")


def test_an_answer_of_another_form_is_named_too(manager: SecretsManager) -> None:
    manager.refuse["AWSCURRENT"] = (400, "")
    assert f"Secret '{SECRET_ID}' cannot be read (" in refused()


def test_a_previous_version_that_cannot_be_read_fails_the_fetch(manager: SecretsManager) -> None:
    # To go on with the current key alone would end good sessions for the time that the trouble lasts.
    manager.put("v2", SECRET, "AWSCURRENT")
    manager.refuse["AWSPREVIOUS"] = (400, "AccessDeniedException")
    assert "(AccessDeniedException)" in refused()


@pytest.mark.usefixtures("manager")
def test_a_secrets_manager_that_is_not_there_is_a_sentence_with_the_mend(environment: Callable[..., None]) -> None:
    secrets_manager.client.cache_clear()
    environment(AWS_ENDPOINT_URL="http://127.0.0.1:9")
    told = refused()
    secrets_manager.client.cache_clear()
    assert told.startswith(f"Secret '{SECRET_ID}' cannot be read (EndpointConnectionError): for local use set AUTHOR")
    assert told.endswith("give AWS credentials and a Region.")


@pytest.mark.parametrize("text", [BINARY, "", "not json", "[]", "null", "{}", '{"my_secret_key": 7}', "[" * 100_000])
def test_a_secret_of_another_form_is_named_with_the_form_that_it_should_have(
    manager: SecretsManager, text: str
) -> None:
    manager.put("v1", SECRET, "AWSCURRENT")
    manager.texts["v1"] = text
    assert refused().startswith(f'Secret \'{SECRET_ID}\' is not of the form {{"my_secret_key": "..."}}: put')


def test_a_weak_current_secret_is_refused_without_being_shown(manager: SecretsManager) -> None:
    manager.put("v1", "a-password", "AWSCURRENT")
    told = refused()
    assert told.startswith(f"Secret '{SECRET_ID}' holds fewer than the 32 bytes that HS256 needs: make one with")
    assert "a-password" not in told


def test_a_previous_version_that_cannot_be_used_is_left_out_and_noted_without_being_shown(
    manager: SecretsManager, capsys: pytest.CaptureFixture[str]
) -> None:
    manager.put("v2", SECRET, "AWSCURRENT")
    manager.put("v1", "a-password", "AWSPREVIOUS")
    assert key_ids() == ["v2"]
    line = json.loads(capsys.readouterr().out)
    assert line["event"] == "keys"
    assert line["detail"].startswith(f"The previous version is left out: Secret '{SECRET_ID}' holds fewer than")
    assert "a-password" not in str(line)


def test_the_decision_names_the_key_that_verified(
    manager: SecretsManager, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    manager.put("v2", SECRET, "AWSCURRENT")
    manager.put("v1", OLD_SECRET, "AWSPREVIOUS")
    for version, secret in (("v2", SECRET), ("v1", OLD_SECRET)):
        assert client.http.get(PATH, headers={"Authorization": sign(claims(), secret)}).status_code == 200
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [line["kid"] for line in lines if line.get("lock") == "gateway"] == [version]


# A rotation, step by step.

FIRST = "11111111-1111-4111-8111-111111111111"  # an id of the length that Secrets Manager asks for


def step(name: str, version: str) -> None:
    event = {"SecretId": SECRET_ID, "ClientRequestToken": version, "Step": name}
    rotation.rotate(event, settings.current(), secrets_manager.client())


def notes(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [json.loads(line)["detail"] for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def version(manager: SecretsManager) -> str:
    """Have a current version with another field, and the id of a version to come."""
    manager.put(FIRST, SECRET, "AWSCURRENT", note="kept")
    return str(uuid.uuid4())


def test_the_four_steps_make_a_new_key_current_and_the_old_one_previous(
    manager: SecretsManager, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    step("createSecret", version)
    assert manager.labels == {"AWSCURRENT": FIRST, "AWSPENDING": version}
    assert json.loads(manager.texts[version])["note"] == "kept"
    assert len(manager.key(version).encode()) >= 64
    assert manager.key(version) != SECRET
    for name in ("setSecret", "testSecret"):
        step(name, version)
        assert manager.labels["AWSCURRENT"] == FIRST
    step("finishSecret", version)
    assert (manager.labels["AWSCURRENT"], manager.labels["AWSPREVIOUS"]) == (version, FIRST)
    assert key_ids() == [version, FIRST]
    assert [note for note in notes(capsys) if note] == [
        f"Rotation, createSecret, version {version}: AWSPENDING",
        f"Rotation, setSecret, version {version}: nothing to set: no other system holds this secret",
        f"Rotation, testSecret, version {version}: a token signed with it stands",
        f"Rotation, finishSecret, version {version}: AWSCURRENT",
    ]


def test_a_version_that_was_made_already_is_not_made_again(
    manager: SecretsManager, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    step("createSecret", version)
    made = manager.texts[version]
    step("createSecret", version)
    assert manager.texts[version] == made
    assert notes(capsys)[-1] == f"Rotation, createSecret, version {version}: made already"


def test_a_version_that_another_rotation_left_pending_is_not_taken_for_ours(
    manager: SecretsManager, version: str
) -> None:
    manager.put("another", OLD_SECRET, "AWSPENDING")
    step("createSecret", version)
    assert manager.labels["AWSPENDING"] == version
    assert manager.key(version) not in {SECRET, OLD_SECRET}


@pytest.mark.parametrize("name", ["createSecret", "setSecret", "testSecret", "finishSecret"])
def test_a_step_for_the_version_that_is_current_changes_nothing(
    manager: SecretsManager, version: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert version
    step(name, FIRST)
    assert [action for action, _ in manager.asked] == ["DescribeSecret"]
    assert notes(capsys) == [f"Rotation, {name}, version {FIRST}: done already"]


@pytest.mark.parametrize("name", ["setSecret", "testSecret", "finishSecret", "nonsense"])
def test_a_step_for_a_version_that_is_not_pending_is_an_error(manager: SecretsManager, version: str, name: str) -> None:
    manager.labels["AWSPENDING"] = "another"
    with pytest.raises(rotation.RotationError, match=f"^{name}: version {version} is not AWSPENDING, so there is"):
        step(name, version)
    assert [action for action, _ in manager.asked] == ["DescribeSecret"]


def test_a_step_that_nobody_knows_is_an_error(manager: SecretsManager, version: str) -> None:
    manager.put(version, OLD_SECRET, "AWSPENDING")
    with pytest.raises(rotation.RotationError, match=r"^nonsense is no step of a rotation\.$"):
        step("nonsense", version)


@pytest.mark.parametrize("algorithms", ["HS256", "HS512 HS256"])
def test_a_pending_version_that_the_authorizer_could_not_use_fails_the_test_without_being_shown(
    manager: SecretsManager, version: str, algorithms: str, environment: Callable[..., None]
) -> None:
    environment(JWT_ALGORITHMS=algorithms)
    weak = "x" * (31 if algorithms == "HS256" else 63)
    manager.put(version, weak, "AWSPENDING")
    with pytest.raises(KeysUnavailable, match=f"^Version {version} holds fewer than") as told:
        step("testSecret", version)
    assert weak not in str(told.value)


def test_a_pending_version_of_exactly_the_bytes_that_are_needed_passes_the_test(
    manager: SecretsManager, version: str, environment: Callable[..., None]
) -> None:
    environment(JWT_ALGORITHMS="HS512 HS256")
    manager.put(version, "x" * 64, "AWSPENDING")
    step("testSecret", version)
