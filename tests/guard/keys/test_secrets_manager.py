"""Keys out of Secrets Manager and the four steps of a rotation, over HTTP, from a server with versions and labels.

The end-to-end tests hold the same against the embedded AWS. Here every kind of answer is to be had, at once.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from chalice.test import Client

from chalicelib.guard import rotation, settings
from chalicelib.guard.decision import KeysUnavailable
from chalicelib.guard.keys import source
from chalicelib.guard.keys.source import CachedKeys, KeySet, Revocations, hmac_keys
from chalicelib.guard.tokens import InvalidToken, verify
from tests.support.tokens import SECRET, claims, forge, sign

OLD_SECRET = "the-secret-before-it-" + "y" * 40
SECRET_ID, LIST_ID = "the-secrets-name", "ended-sessions"
ARN = f"arn:aws:secretsmanager:eu-central-1:123456789012:secret:{SECRET_ID}-a1b2c3"

#: A version whose value is no text, and one that is answered without a value.
BINARY, ABSENT = "(binary)", "(absent)"


class SecretsManager:
    """One secret: its versions' texts, and which version has which label. `refuse` maps a label to an error.

    Beside it there is a list of ended sessions, once it has a text; `refuse` may hold its name too.
    A version that is staged has a label and no value yet, as Secrets Manager leaves one before createSecret.
    """

    def __init__(self) -> None:
        self.rotates, self.nameless = True, ""
        self.texts: dict[str, str] = {}
        self.labels: dict[str, str] = {}
        self.refuse: dict[str, tuple[int, str]] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.agents: list[str] = []  # what asked: the AWS SDK gives its name
        self.ended: str | None = None  # the text of the list of revocations

    def put(self, version: str, field: Any, label: str, **more: Any) -> None:
        self.texts[version] = json.dumps({"my_secret_key": field, **more})
        self.labels[label] = version

    def key(self, version: str) -> str:
        return str(json.loads(self.texts[version])["my_secret_key"])

    def answer(self, action: str, given: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.asked.append((action, given))
        if given["SecretId"] == LIST_ID:
            if LIST_ID in self.refuse:
                return self.refuse[LIST_ID][0], {"__type": self.refuse[LIST_ID][1]}
            if self.ended is None:
                return 400, {"__type": "ResourceNotFoundException"}
            value = {"SecretBinary": "AAAA"} if self.ended == BINARY else {"SecretString": self.ended}
            return 200, {"VersionId": "of-the-list", **value}
        if given["SecretId"] not in {SECRET_ID, ARN}:
            return 400, {"__type": "ResourceNotFoundException"}
        label = given.get("VersionStage", "AWSCURRENT")
        if label in self.refuse:
            status, code = self.refuse[label]
            return status, {"__type": code}
        if action == "DescribeSecret":
            stages: dict[str, list[str]] = {}
            for name, version in self.labels.items():
                stages.setdefault(version, []).append(name)
            rotates = {"RotationEnabled": True} if self.rotates else {}  # AWS leaves it out where it never was on
            return 200, {"ARN": ARN, "Name": SECRET_ID, "VersionIdsToStages": stages, **rotates}
        if action == "GetSecretValue":
            staged = self.labels.get(label, "none")
            version = given.get("VersionId", staged)
            if ("VersionStage" in given and version != staged) or version not in self.texts:
                return 400, {"__type": "ResourceNotFoundException"}
            text = self.texts[version]
            nameless = label == self.nameless
            return 200, {
                **({} if nameless else {"VersionId": version}),
                **{BINARY: {"SecretBinary": "AAAA"}, ABSENT: {}}.get(text, {"SecretString": text}),
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
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            behind[-1].agents.append(self.headers.get("User-Agent", ""))
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
    source.client.cache_clear()
    yield f"http://127.0.0.1:{server.server_address[1]}", behind
    source.client.cache_clear()
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


def fetched() -> KeySet:
    return source.fetch(settings.from_environment())


def key_ids() -> list[str | None]:
    return [key.id for key in fetched().keys]


def cached_keys() -> CachedKeys:
    wanted = settings.from_environment()
    return CachedKeys(lambda: source.fetch(wanted), wanted.key_ttl, wanted.key_max_stale)


def kept() -> list[str | None]:
    """Return the keys' names as the authorizer keeps them, which says in the log what an operator should know."""
    return [key.id for key in cached_keys().current().keys]


def refused() -> str:
    with pytest.raises(KeysUnavailable) as raised:
        fetched()
    return str(raised.value)


# What the authorizer fetches.


def test_the_current_key_comes_first_and_then_the_previous_one(manager: SecretsManager) -> None:
    manager.put("v2", SECRET, "AWSCURRENT")
    manager.put("v1", OLD_SECRET, "AWSPREVIOUS")
    wanted = settings.from_environment()
    keys = cached_keys().current().keys
    assert [key.id for key in keys] == ["v2", "v1"]
    for token in (sign(claims(), SECRET, kid="v2"), sign(claims(), OLD_SECRET, kid="v1"), sign(claims(), OLD_SECRET)):
        assert verify(token, keys, wanted, claims()["iat"]).subject == "alice"
    with pytest.raises(InvalidToken, match="bad_signature"):
        verify(sign(claims(), SECRET, kid="v1"), keys, wanted, claims()["iat"])


def test_a_secret_that_was_never_rotated_has_one_key(manager: SecretsManager) -> None:
    manager.put("v1", SECRET, "AWSCURRENT")
    assert key_ids() == ["v1"]


def test_a_previous_version_that_is_not_wanted_is_not_asked_for(
    manager: SecretsManager, environment: Callable[..., None]
) -> None:
    environment(JWT_PREVIOUS_KEY="refuse")
    manager.put("v2", SECRET, "AWSCURRENT")
    manager.put("v1", OLD_SECRET, "AWSPREVIOUS")
    assert key_ids() == ["v2"]
    assert [given["VersionStage"] for _, given in manager.asked] == ["AWSCURRENT"]


def test_the_field_and_the_algorithms_are_those_of_the_settings(
    manager: SecretsManager, environment: Callable[..., None]
) -> None:
    environment(JWT_SECRET_FIELD="other", JWT_ALGORITHMS="HS256 HS384")
    manager.put("v1", "too-short", "AWSCURRENT", other=SECRET)
    assert [key.jwk.algorithm_name for key in fetched().keys] == ["HS256", "HS384"]


FIX = "check that it exists here, the role's permissions and the credentials; locally, set AUTHORIZER_SECRET."


@pytest.mark.parametrize("code", ["AccessDeniedException", "DecryptionFailure", "ResourceNotFoundException"])
def test_an_unreadable_current_version_is_one_sentence_with_the_fix(manager: SecretsManager, code: str) -> None:
    manager.put("v1", OLD_SECRET, "AWSPREVIOUS")
    manager.refuse["AWSCURRENT"] = (400, code)
    assert refused() == f"Secret '{SECRET_ID}' cannot be read ({code}): {FIX}"
    assert [given["VersionStage"] for _, given in manager.asked] == ["AWSCURRENT"]  # a caller waits meanwhile


def test_an_answer_of_another_form_is_named_too(manager: SecretsManager) -> None:
    manager.refuse["AWSCURRENT"] = (400, "")
    assert f"Secret '{SECRET_ID}' cannot be read (" in refused()


@pytest.mark.usefixtures("manager")
def test_a_secrets_manager_that_is_not_there_is_one_sentence_with_the_fix(environment: Callable[..., None]) -> None:
    source.client.cache_clear()
    environment(AWS_ENDPOINT_URL="http://127.0.0.1:9")
    said = refused()
    source.client.cache_clear()
    assert said == f"Secret '{SECRET_ID}' cannot be read (EndpointConnectionError): {FIX}"


@pytest.mark.usefixtures("manager")
def test_the_sdk_gives_up_within_the_time_of_a_function() -> None:
    config = source.client().meta.config
    assert config.retries == {"mode": "standard", "total_max_attempts": 2}
    assert config.retries["total_max_attempts"] * (config.connect_timeout + config.read_timeout) <= 6


def test_an_error_that_nobody_expects_is_logged_with_its_place(manager: SecretsManager, log: Callable[[], Any]) -> None:
    manager.put("v1", SECRET, "AWSCURRENT")
    manager.nameless = "AWSCURRENT"
    with pytest.raises(KeysUnavailable) as raised:
        cached_keys().current()
    (line,) = log()
    assert line["refresh_failures"] == 1
    assert line["refresh_ms"] > 0
    assert line["detail"] == str(raised.value)
    assert re.fullmatch("KeyError in \\w*keys_of\\w*, line [0-9]+", line["detail"])


# The previous version is a courtesy.


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "DecryptionFailure"),  # its KMS key was disabled
        (400, "AccessDeniedException"),
        (400, "ThrottlingException"),
        (500, "InternalServiceError"),
        (400, "InvalidRequestException"),
    ],
)
def test_a_previous_version_that_cannot_be_read_is_left_out_and_noted(
    manager: SecretsManager, log: Callable[[], Any], status: int, code: str
) -> None:
    manager.put("v2", SECRET, "AWSCURRENT")
    manager.put("v1", OLD_SECRET, "AWSPREVIOUS")
    manager.refuse["AWSPREVIOUS"] = (status, code)
    assert kept() == ["v2"]
    (line,) = log()
    said = f"The previous version is left out: Secret '{SECRET_ID}' cannot be read ({code}): {FIX}"
    assert (line["event"], line["detail"]) == ("keys", said)


@pytest.mark.parametrize("text", [BINARY, "not json", "{}", '{"my_secret_key": 7}', '{"my_secret_key": "a-password"}'])
def test_a_previous_version_that_cannot_be_used_is_left_out_and_noted(
    manager: SecretsManager, log: Callable[[], Any], text: str
) -> None:
    manager.put("v2", SECRET, "AWSCURRENT")
    manager.put("v1", OLD_SECRET, "AWSPREVIOUS")
    manager.texts["v1"] = text
    assert kept() == ["v2"]
    (line,) = log()
    assert line["detail"].startswith(f"The previous version is left out: Secret '{SECRET_ID}' ")
    assert "a-password" not in str(line)


def test_a_previous_version_answered_in_an_odd_way_is_left_out_and_noted(
    manager: SecretsManager, log: Callable[[], Any]
) -> None:
    manager.put("v2", SECRET, "AWSCURRENT")
    manager.put("v1", OLD_SECRET, "AWSPREVIOUS")
    manager.nameless = "AWSPREVIOUS"
    assert kept() == ["v2"]
    (line,) = log()
    assert re.fullmatch("The previous version is left out: KeyError in \\w*keys_of\\w*, line [0-9]+", line["detail"])


def test_that_there_is_no_previous_version_is_not_noted(manager: SecretsManager, log: Callable[[], Any]) -> None:
    manager.put("v1", SECRET, "AWSCURRENT")
    assert kept() == ["v1"]
    (line,) = log()
    assert "detail" not in line


# Inside Lambda the AWS SDK is not needed.


@pytest.fixture
def inside_lambda(served: tuple[str, list[SecretsManager]], environment: Callable[..., None]) -> None:
    environment(
        AWS_LAMBDA_FUNCTION_NAME="authorizer", AWS_REGION="eu-central-1", AWS_ENDPOINT_URL_SECRETS_MANAGER=served[0]
    )


@pytest.mark.usefixtures("inside_lambda")
def test_inside_lambda_both_labels_are_asked_for_without_the_sdk(
    manager: SecretsManager, log: Callable[[], Any]
) -> None:
    manager.put("v2", SECRET, "AWSCURRENT")
    manager.put("v1", OLD_SECRET, "AWSPREVIOUS")
    assert kept() == ["v2", "v1"]
    assert [given for _, given in manager.asked] == [
        {"SecretId": SECRET_ID, "VersionStage": label} for label in ("AWSCURRENT", "AWSPREVIOUS")
    ]
    assert manager.agents == ["", ""]
    (line,) = log()
    assert "detail" not in line


def test_outside_lambda_the_sdk_asks(manager: SecretsManager) -> None:
    manager.put("v1", SECRET, "AWSCURRENT")
    assert key_ids() == ["v1"]
    assert {agent.partition("/")[0] for agent in manager.agents} == {"Botocore"}


@pytest.mark.usefixtures("inside_lambda")
def test_what_is_left_to_the_sdk_is_noted_once_without_its_value(
    manager: SecretsManager, environment: Callable[..., None], log: Callable[[], Any]
) -> None:
    manager.put("v1", SECRET, "AWSCURRENT")
    manager.ended = NOBODY
    environment(HTTP_PROXY="http://user:password@127.0.0.1:9", NO_PROXY="127.0.0.1", JWT_REVOCATIONS_SECRET_ID=LIST_ID)
    assert kept() == ["v1"]
    assert "" not in manager.agents
    (line,) = log()
    said = "Secrets Manager is asked by way of the AWS SDK, which starts slower: HTTP_PROXY is set"
    assert (line["event"], line["detail"]) == ("keys", said)


@pytest.mark.usefixtures("inside_lambda")
@pytest.mark.parametrize("code", ["AccessDeniedException", "ResourceNotFoundException"])
def test_inside_lambda_an_unreadable_current_version_is_the_same_sentence(manager: SecretsManager, code: str) -> None:
    manager.put("v1", OLD_SECRET, "AWSPREVIOUS")
    manager.refuse["AWSCURRENT"] = (400, code)
    assert refused() == f"Secret '{SECRET_ID}' cannot be read ({code}): {FIX}"


@pytest.mark.usefixtures("inside_lambda")
@pytest.mark.parametrize("status", [400, 500])
def test_inside_lambda_an_unreadable_previous_version_is_noted(
    manager: SecretsManager, log: Callable[[], Any], status: int
) -> None:
    manager.put("v2", SECRET, "AWSCURRENT")
    manager.put("v1", OLD_SECRET, "AWSPREVIOUS")
    manager.refuse["AWSPREVIOUS"] = (status, "DecryptionFailure")
    assert kept() == ["v2"]
    (line,) = log()
    said = f"The previous version is left out: Secret '{SECRET_ID}' cannot be read (DecryptionFailure): {FIX}"
    assert line["detail"] == said


# Ended sessions: a list in a secret of its own.

NOBODY = '{"everyone": -1, "subjects": {}}'


@pytest.fixture
def listed(manager: SecretsManager, environment: Callable[..., None]) -> SecretsManager:
    """Have a key and a list that ends nobody's sessions, and the setting that names the list."""
    manager.put("v1", SECRET, "AWSCURRENT")
    manager.ended = NOBODY
    environment(JWT_REVOCATIONS_SECRET_ID=LIST_ID)
    return manager


@pytest.fixture(params=["outside Lambda", "inside Lambda"])
def anywhere(request: pytest.FixtureRequest) -> None:
    if request.param == "inside Lambda":
        request.getfixturevalue("inside_lambda")


@pytest.mark.usefixtures("anywhere")
def test_ended_sessions_are_those_of_the_list_that_the_setting_names(listed: SecretsManager) -> None:
    listed.ended = '{"everyone": 5, "subjects": {"alice": 7}}'
    assert fetched().revocations == Revocations(5, {"alice": 7})
    assert listed.asked[-1] == ("GetSecretValue", {"SecretId": LIST_ID, "VersionStage": "AWSCURRENT"})


def test_without_the_setting_no_list_is_asked_for(listed: SecretsManager, environment: Callable[..., None]) -> None:
    environment(JWT_REVOCATIONS_SECRET_ID=None)
    assert fetched().revocations == Revocations()
    assert {given["SecretId"] for _, given in listed.asked} == {SECRET_ID}


def test_a_weak_local_secret_is_named_by_its_variable(environment: Callable[..., None]) -> None:
    environment(AUTHORIZER_SECRET="short")
    assert refused().startswith("AUTHORIZER_SECRET holds no secret of 32 bytes or more for HS256 (")


def test_a_local_secret_has_a_list_too(listed: SecretsManager, environment: Callable[..., None]) -> None:
    environment(AUTHORIZER_SECRET=SECRET)
    listed.ended = '{"everyone": 5, "subjects": {}}'
    assert fetched().revocations == Revocations(5)


@pytest.mark.usefixtures("anywhere")
@pytest.mark.parametrize(
    "text",
    [BINARY, "", "{}", "null", "[" * 100_000, '{"everyone": -1}', '{"everyone": true, "subjects": {}}',
     '{"everyone": -1, "subjects": {"alice": "7"}}'],
)  # fmt: skip
def test_a_list_of_another_form_is_no_list_and_there_are_no_keys(listed: SecretsManager, text: str) -> None:
    listed.ended = text
    assert refused() == f"Secret '{LIST_ID}' is no revocation list: run manage.py secret create."


@pytest.mark.usefixtures("anywhere")
@pytest.mark.parametrize("code", ["AccessDeniedException", "DecryptionFailure", "ResourceNotFoundException"])
def test_without_the_list_there_are_no_keys(listed: SecretsManager, code: str) -> None:
    listed.ended = None
    if code != "ResourceNotFoundException":
        listed.refuse[LIST_ID] = (400, code)
    assert refused() == f"Secret '{LIST_ID}' cannot be read ({code}): {FIX}"


@pytest.mark.parametrize("text", [None, "{}"])
def test_an_older_list_serves_for_its_time_and_no_longer(listed: SecretsManager, text: str | None) -> None:
    listed.ended = '{"everyone": 5, "subjects": {}}'
    now = 0.0
    cached = CachedKeys(fetched, ttl=300, max_stale=3600, clocks=lambda: (now, now))
    assert cached.current().revocations == Revocations(5)
    listed.ended = text
    for now in (300, 3900):
        served = cached.current()
        assert (served.revocations, served.age) == (Revocations(5), now)
        assert served.failure is not None
        assert LIST_ID in served.failure
    now = 3900.1
    with pytest.raises(KeysUnavailable, match=LIST_ID):
        cached.current()


def test_a_list_that_changes_is_read_with_the_next_refresh(listed: SecretsManager) -> None:
    now = 0.0
    cached = CachedKeys(fetched, ttl=300, max_stale=3600, clocks=lambda: (now, now))
    assert cached.current().revocations == Revocations()
    listed.ended = '{"everyone": 5, "subjects": {}}'
    now = 299
    assert cached.current().revocations == Revocations()
    now = 300
    assert cached.current().revocations == Revocations(5)


def answered(client: Client, **changes: Any) -> int:
    headers = {"Authorization": sign(claims(**changes), SECRET)}
    return int(client.http.get("/items", headers=headers).status_code)


@pytest.mark.usefixtures("anywhere")
@pytest.mark.parametrize(
    "form", ['{{"everyone": {}, "subjects": {{}}}}', '{{"everyone": -1, "subjects": {{"alice": {}}}}}']
)
def test_a_token_of_an_ended_session_is_a_401_and_a_later_one_is_valid(
    listed: SecretsManager, client: Client, log: Callable[[], Any], form: str
) -> None:
    ended = claims()["iat"] - 10
    listed.ended = form.format(ended)
    for issued, status in ((ended - 1, 401), (ended, 401), (..., 401), (ended + 1, 200)):
        assert answered(client, iat=issued) == status
    decisions = [line for line in log() if line.get("check") == "authorizer"]
    assert [line.get("reason") for line in decisions] == ["revoked"] * 3 + [None]
    assert {line["subject"] for line in decisions} == {"alice"}


def test_ended_sessions_of_others_change_nothing(listed: SecretsManager, client: Client) -> None:
    listed.ended = json.dumps({"everyone": -1, "subjects": {"bob": claims()["exp"]}})
    assert answered(client) == 200
    assert answered(client, sub="bob") == 401


def test_a_revoked_token_has_no_keys_fetched_again(listed: SecretsManager, client: Client) -> None:
    listed.ended = json.dumps({"everyone": claims()["exp"], "subjects": {}})
    for _ in range(3):
        assert answered(client) == 401
    assert [given["SecretId"] for _, given in listed.asked].count(LIST_ID) == 1


@pytest.mark.usefixtures("anywhere")
@pytest.mark.parametrize(("text", "said"), [(None, "cannot be read"), ("{}", "is no revocation list")])
def test_without_the_list_it_is_a_500_and_the_log_names_the_secret(
    listed: SecretsManager, client: Client, log: Callable[[], Any], text: str | None, said: str
) -> None:
    listed.ended = text
    assert answered(client) == 500
    (decision,) = [line for line in log() if line.get("check") == "authorizer"]
    assert (decision["outcome"], decision["reason"]) == ("error", "keys_unavailable")
    assert f"Secret '{LIST_ID}' {said}" in decision["detail"]


# What `kid` means with a secret: a hint.


def verifies(token: str) -> str | None:
    """Return the id of the key that verifies it."""
    wanted = settings.from_environment()
    return verify(token, fetched().keys, wanted, claims()["iat"]).key_id


def refusal(token: str) -> str:
    with pytest.raises(InvalidToken) as raised:
        verifies(token)
    return str(raised.value)


@pytest.mark.parametrize("kid", ["v3", "", "my-issuer's own name", "V2"])
def test_a_kid_that_is_no_versions_id_tries_both_versions(manager: SecretsManager, kid: str) -> None:
    manager.put("v2", SECRET, "AWSCURRENT")
    manager.put("v1", OLD_SECRET, "AWSPREVIOUS")
    assert verifies(sign(claims(), SECRET, kid=kid)) == "v2"
    assert verifies(sign(claims(), OLD_SECRET, kid=kid)) == "v1"
    assert refusal(sign(claims(), "x" * 64, kid=kid)) == "bad_signature"


def test_a_kid_that_is_a_versions_id_picks_that_version_alone(manager: SecretsManager) -> None:
    manager.put("v2", SECRET, "AWSCURRENT")
    manager.put("v1", OLD_SECRET, "AWSPREVIOUS")
    assert verifies(sign(claims(), OLD_SECRET, kid="v1")) == "v1"
    assert refusal(sign(claims(), SECRET, kid="v1")) == "bad_signature"
    assert refusal(sign(claims(), OLD_SECRET, kid="v2")) == "bad_signature"


KIDS = ["", ',"kid":"v1"', ',"kid":"any"', ',"kid":""', ',"kid":null', ',"kid":7', ',"kid":["v1"]']


@pytest.mark.parametrize("kid", KIDS)
@pytest.mark.parametrize("secret", [SECRET, "x" * 64])
def test_a_token_is_answered_alike_with_a_local_secret_and_deployed(
    manager: SecretsManager, environment: Callable[..., None], kid: str, secret: str
) -> None:
    manager.put("v1", SECRET, "AWSCURRENT")
    token = forge(f'{{"alg":"HS256"{kid}}}'.encode(), json.dumps(claims()).encode(), secret)

    def outcome() -> str:
        try:
            verifies(token)
        except InvalidToken as refused:
            return str(refused)
        return "valid"

    deployed = outcome()
    environment(AUTHORIZER_SECRET=SECRET)
    assert deployed == outcome()
    other = kid.endswith(("null", "7", "]"))
    assert deployed == ("malformed" if other else "valid" if secret == SECRET else "bad_signature")


def test_an_algorithm_that_is_listed_twice_hides_no_version(
    manager: SecretsManager, environment: Callable[..., None]
) -> None:
    environment(JWT_ALGORITHMS="HS256 HS256 HS256")
    manager.put("v2", SECRET, "AWSCURRENT")
    manager.put("v1", OLD_SECRET, "AWSPREVIOUS")
    assert verifies(sign(claims(), OLD_SECRET)) == "v1"
    assert len(hmac_keys(SECRET, None, ["HS256", "HS256"], "the test's secret")) == 1


# A secret of another form, or a weak one.


@pytest.mark.parametrize("text", [BINARY, "", "not json", "[]", "null", "{}", '{"my_secret_key": 7}', "[" * 100_000])
def test_a_secret_of_another_form_is_named_with_the_right_form(manager: SecretsManager, text: str) -> None:
    manager.put("v1", SECRET, "AWSCURRENT")
    manager.texts["v1"] = text
    assert refused().startswith(f'Secret \'{SECRET_ID}\' is not of the form {{"my_secret_key": "..."}}: put')


def test_a_weak_current_secret_is_refused_without_being_shown(manager: SecretsManager) -> None:
    manager.put("v1", "a-password", "AWSCURRENT")
    said = refused()
    assert said.startswith(f"Secret '{SECRET_ID}' holds no secret of 32 bytes or more for HS256 (")
    assert "): make one with: " in said
    assert "a-password" not in said


def test_the_decision_names_the_key_that_verified(
    manager: SecretsManager, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    manager.put("v2", SECRET, "AWSCURRENT")
    manager.put("v1", OLD_SECRET, "AWSPREVIOUS")
    for version, secret in (("v2", SECRET), ("v1", OLD_SECRET)):
        assert client.http.get("/items", headers={"Authorization": sign(claims(), secret)}).status_code == 200
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [line["kid"] for line in lines if line.get("check") == "authorizer"] == [version]


# A rotation, step by step.

FIRST = "11111111-1111-4111-8111-111111111111"  # an id of the length that Secrets Manager asks for
STEPS = ["createSecret", "setSecret", "testSecret", "finishSecret"]


def step(name: str, version: str, secret_id: str = ARN) -> None:
    event = {"SecretId": secret_id, "ClientRequestToken": version, "Step": name}
    rotation.rotate_secret(event, None)


def fails(name: str, version: str, secret_id: str = ARN) -> str:
    """Return why the step fails."""
    with pytest.raises((rotation.RotationError, KeysUnavailable)) as raised:
        step(name, version, secret_id)
    return str(raised.value)


def changed(manager: SecretsManager) -> list[str]:
    """Return the calls that change something."""
    return [action for action, _ in manager.asked if action not in {"DescribeSecret", "GetSecretValue"}]


def notes(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [json.loads(line)["detail"] for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def version(manager: SecretsManager) -> str:
    """Have a current version with another field, and a version that is staged and has no value; return its id."""
    manager.put(FIRST, SECRET, "AWSCURRENT", note="kept")
    manager.labels["AWSPENDING"] = staged = str(uuid.uuid4())
    return staged


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
    assert [note for note in notes(capsys) if note] == [f"Rotation, {name}, version {version}: done" for name in STEPS]


def test_a_version_that_was_made_already_is_not_made_again(manager: SecretsManager, version: str) -> None:
    step("createSecret", version)
    made = manager.texts[version]
    step("createSecret", version)
    assert manager.texts[version] == made


def test_a_version_that_is_answered_without_a_value_gets_one(manager: SecretsManager, version: str) -> None:
    manager.texts[version] = ABSENT
    step("createSecret", version)
    assert len(manager.key(version).encode()) >= 64


def test_a_binary_version_that_is_pending_is_left_as_it_is(manager: SecretsManager, version: str) -> None:
    manager.texts[version] = BINARY
    step("createSecret", version)
    assert changed(manager) == []
    assert fails("finishSecret", version)


@pytest.mark.parametrize("name", STEPS)
def test_a_step_for_the_version_that_is_current_changes_nothing(
    manager: SecretsManager, version: str, name: str
) -> None:
    assert version
    step(name, FIRST)
    assert [action for action, _ in manager.asked] == ["DescribeSecret"]


# A rotation that Secrets Manager did not begin.


@pytest.mark.parametrize("labels", [[], ["AWSPREVIOUS"], ["another"]])
@pytest.mark.parametrize("name", [*STEPS, "nonsense"])
def test_a_step_for_a_version_that_is_not_pending_is_refused(
    manager: SecretsManager, version: str, name: str, labels: list[str]
) -> None:
    other = str(uuid.uuid4())
    if labels:
        manager.put(other, OLD_SECRET, labels[0])
    assert fails(name, other) == (
        f"{name!r}: version {other!r} is not AWSPENDING, so no rotation is to make it current."
    )
    assert changed(manager) == []
    assert manager.labels["AWSPENDING"] == version


def test_invented_tokens_leave_the_live_key_its_labels(manager: SecretsManager, version: str) -> None:
    before = dict(manager.labels)
    for invented in (str(uuid.uuid4()), str(uuid.uuid4())):
        for name in STEPS:
            assert "is not AWSPENDING" in fails(name, invented)
    assert (manager.labels, changed(manager)) == (before, [])
    step("createSecret", version)  # the true rotation goes on
    step("finishSecret", version)
    assert manager.labels == {"AWSCURRENT": version, "AWSPENDING": version, "AWSPREVIOUS": FIRST}


@pytest.mark.parametrize("name", STEPS)
def test_a_secret_that_is_not_to_be_rotated_is_not(manager: SecretsManager, version: str, name: str) -> None:
    manager.put(version, OLD_SECRET, "AWSPENDING")
    manager.rotates = False
    assert fails(name, version) == f"Rotation is not enabled for the secret '{SECRET_ID}'."
    assert changed(manager) == []


@pytest.mark.parametrize("secret_id", ["another", ARN[:-1] + "4", ARN.replace("eu-", "us-"), ARN[:-7], ""])
@pytest.mark.parametrize("name", STEPS)
def test_another_secret_than_the_configured_one_is_not_touched(
    manager: SecretsManager, version: str, name: str, secret_id: str
) -> None:
    assert fails(name, version, secret_id) == f"{secret_id!r} is not the secret that JWT_SECRET_ID names."
    assert [(action, given["SecretId"]) for action, given in manager.asked] == [("DescribeSecret", SECRET_ID)]


@pytest.mark.parametrize("configured", [SECRET_ID, ARN])
@pytest.mark.parametrize("named", [SECRET_ID, ARN])
def test_the_configured_secret_may_be_named_by_its_name_or_its_arn(
    manager: SecretsManager, version: str, environment: Callable[..., None], configured: str, named: str
) -> None:
    environment(JWT_SECRET_ID=configured)
    for name in STEPS:
        step(name, version, named)
    assert manager.labels["AWSCURRENT"] == version


@pytest.mark.parametrize("text", [BINARY, "", "not json", "[]", "{}", '{"other": "x"}', '{"my_secret_key": 7}'])
def test_a_secret_of_another_form_is_not_replaced(manager: SecretsManager, version: str, text: str) -> None:
    manager.texts[FIRST] = text
    said = fails("createSecret", version)
    assert said.startswith(f'Secret \'{SECRET_ID}\' is not of the form {{"my_secret_key": "..."}}: put')
    assert (changed(manager), manager.texts) == ([], {FIRST: text})


def test_a_weak_secret_is_replaced_for_that_is_its_fix(manager: SecretsManager, version: str) -> None:
    manager.put(FIRST, "a-password", "AWSCURRENT")
    for name in STEPS:
        step(name, version)
    assert manager.labels["AWSCURRENT"] == version


def test_a_step_that_nobody_knows_is_an_error(manager: SecretsManager, version: str) -> None:
    manager.put(version, OLD_SECRET, "AWSPENDING")
    assert fails("nonsense", version) == "'nonsense' is no step of a rotation."


# A version that the authorizer could not use never becomes current, whether testSecret was called or not.


@pytest.mark.parametrize("name", ["testSecret", "finishSecret"])
@pytest.mark.parametrize(
    ("algorithms", "length"), [("HS256", 31), ("HS512 HS256", 63), ("HS256 HS512", 63), ("HS256 HS384", 47)]
)
def test_a_weak_version_fails_without_being_shown(
    manager: SecretsManager, version: str, environment: Callable[..., None], name: str, algorithms: str, length: int
) -> None:
    environment(JWT_ALGORITHMS=algorithms)
    manager.put(version, "x" * length, "AWSPENDING")
    said = fails(name, version)
    assert said.startswith(f"Secret '{SECRET_ID}' holds no secret of {length + 1} bytes or more for HS")
    assert "x" * length not in said
    assert (manager.labels["AWSCURRENT"], changed(manager)) == (FIRST, [])


@pytest.mark.parametrize("name", ["testSecret", "finishSecret"])
@pytest.mark.parametrize("text", [BINARY, "not json", '{"other": "x"}', json.dumps({"my_secret_key": '{"kty":"oct"}'})])
def test_a_version_that_holds_no_secret_fails(manager: SecretsManager, version: str, name: str, text: str) -> None:
    manager.texts[version] = text
    assert fails(name, version)
    assert (manager.labels["AWSCURRENT"], changed(manager)) == (FIRST, [])


def test_a_version_without_a_value_is_not_made_current(manager: SecretsManager, version: str) -> None:
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        step("finishSecret", version)
    assert (manager.labels["AWSCURRENT"], changed(manager)) == (FIRST, [])


def test_a_version_of_exactly_the_bytes_that_are_needed_becomes_current(
    manager: SecretsManager, version: str, environment: Callable[..., None]
) -> None:
    environment(JWT_ALGORITHMS="HS512 HS256")
    manager.put(version, "x" * 64, "AWSPENDING")
    for name in ("testSecret", "finishSecret"):
        step(name, version)
    assert manager.labels["AWSCURRENT"] == version
