"""What a rotation refuses, on secrets of the embedded Secrets Manager that each test makes for itself."""

from __future__ import annotations

import json
import uuid

import pytest

from chalicelib.guard import rotation
from chalicelib.guard.decision import KeysUnavailable
from chalicelib.guard.keys import source
from tests.support.embedded_aws import ACCOUNT, REGION, EmbeddedAws

STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")
GOOD = json.dumps({"my_secret_key": "x" * 64})


class Own:
    """A secret with a current value and a staged version; with `rotates`, Secrets Manager is to rotate it."""

    def __init__(self, aws: EmbeddedAws, text: str | bytes, *, rotates: bool = True) -> None:
        self.aws, self.client = aws, aws.client("secretsmanager")
        value = {"SecretString": text} if isinstance(text, str) else {"SecretBinary": text}
        made = self.client.create_secret(Name=f"own-{uuid.uuid4()}", **value)
        self.name, self.arn, self.version = made["Name"], made["ARN"], str(uuid.uuid4())
        if rotates:
            self.client.rotate_secret(
                SecretId=self.name,
                RotationLambdaARN=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:rotate",
                RotationRules={"AutomaticallyAfterDays": 30},
                RotateImmediately=False,
            )
        self.client.put_secret_value(SecretId=self.name, ClientRequestToken=self.version, VersionStages=["AWSPENDING"])

    def put(self, text: str | bytes | None) -> None:
        """Give the staged version this value, or none."""
        value = {} if text is None else {"SecretString" if isinstance(text, str) else "SecretBinary": text}
        self.client.put_secret_value(
            SecretId=self.name, ClientRequestToken=self.version, VersionStages=["AWSPENDING"], **value
        )

    def step(self, name: str, version: str | None = None, configured: str | None = None) -> None:
        event = {"SecretId": self.arn, "ClientRequestToken": version or self.version, "Step": name}
        with pytest.MonkeyPatch.context() as patch:
            for variable, value in self.aws.environment(JWT_SECRET_ID=configured or self.name).items():
                patch.setenv(variable, value)
            source.client.cache_clear()  # it may be for another AWS, as this one is for others
            try:
                rotation.rotate_secret(event, None)
            finally:
                source.client.cache_clear()

    def state(self) -> object:
        """Return all that a step could change: which version has which labels, and the current value."""
        value = self.client.get_secret_value(SecretId=self.name)
        stages = self.client.describe_secret(SecretId=self.name)["VersionIdsToStages"]
        return stages, value.get("SecretString"), value.get("SecretBinary")


@pytest.mark.parametrize("configured", ["name", "arn"])
def test_a_secret_may_be_configured_by_its_name_or_its_arn(aws: EmbeddedAws, configured: str) -> None:
    own = Own(aws, GOOD)
    for name in STEPS:
        own.step(name, configured=getattr(own, configured))
    assert own.client.get_secret_value(SecretId=own.name)["VersionId"] == own.version


@pytest.mark.parametrize("text", [b"\x00\x01", "a-password", "[]", '{"username": "u", "password": "p"}'])
def test_a_secret_of_another_form_is_refused_and_not_replaced(aws: EmbeddedAws, text: str | bytes) -> None:
    own = Own(aws, text)
    before = own.state()
    for name in ("createSecret", "testSecret", "finishSecret"):
        with pytest.raises(KeysUnavailable, match="is not of the form"):
            own.step(name)
    assert own.state() == before


@pytest.mark.parametrize("text", [b"\x00\x01", "a-password", '{"my_secret_key": "short"}'])
def test_a_pending_value_that_is_no_strong_secret_is_never_current(aws: EmbeddedAws, text: str | bytes) -> None:
    own = Own(aws, GOOD)
    own.put(text)
    before = own.state()
    own.step("createSecret")  # it has been made already
    for name in ("testSecret", "finishSecret"):
        with pytest.raises(KeysUnavailable):
            own.step(name)
    assert own.state() == before


@pytest.mark.parametrize("name", STEPS)
def test_a_secret_that_is_not_to_be_rotated_is_left_as_it_is(aws: EmbeddedAws, name: str) -> None:
    own = Own(aws, GOOD, rotates=False)
    before = own.state()
    with pytest.raises(rotation.RotationError, match="Rotation is not enabled"):
        own.step(name)
    assert own.state() == before


@pytest.mark.parametrize("name", STEPS)
def test_another_secret_than_the_configured_one_is_left_as_it_is(aws: EmbeddedAws, name: str) -> None:
    own, other = Own(aws, GOOD), Own(aws, GOOD)
    before = own.state(), other.state()
    with pytest.raises(rotation.RotationError, match="is not the secret that JWT_SECRET_ID names"):
        own.step(name, configured=other.name)
    assert (own.state(), other.state()) == before


def test_tokens_that_nobody_staged_leave_the_live_key_its_labels(aws: EmbeddedAws) -> None:
    own = Own(aws, GOOD)
    before = own.state()
    for invented in (str(uuid.uuid4()), str(uuid.uuid4())):
        for name in STEPS:
            with pytest.raises(rotation.RotationError, match="is not AWSPENDING"):
                own.step(name, invented)
    assert own.state() == before
