"""`manage.py revoke` before AWS is asked: what it refuses, in a sentence; and what `deploy` checks of the list."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import manage
from chalicelib.guard.keys.source import KeySet, Revocations, hmac_keys, parse
from chalicelib.guard.settings import from_environment
from operations import deployment, revocation, stage, why
from operations.fault import Fault
from operations.project import Project
from tests.support.project import change, project_of
from tests.support.tokens import SECRET, token

Change = Callable[..., None]


@pytest.fixture(autouse=True)
def region(environment: Change) -> None:
    environment(AWS_DEFAULT_REGION="eu-central-1")


def refused(project: Project, *words: str) -> str:
    """Return the sentence with which `revoke` refuses."""
    result = CliRunner().invoke(manage.cli, ["revoke", *words], obj=project)
    assert result.exit_code == 2
    return str(result.output.strip().splitlines()[-1])


def test_the_commands_list_and_its_help_have_it(project: Project) -> None:
    assert "revoke" in CliRunner().invoke(manage.cli, ["--help"], obj=project).output
    help_text = CliRunner().invoke(manage.cli, ["revoke", "--help"], obj=project).output
    assert "JWT_REVOCATIONS_SECRET_ID" in help_text


def test_without_the_setting_it_says_what_to_write_and_where(project: Project) -> None:
    sentence = refused(project, "--stage", "prod", "--sub", "alice")
    assert '"JWT_REVOCATIONS_SECRET_ID": "fixture-revocations-prod"' in sentence
    assert ".chalice/config.json" in sentence
    assert "arn:*:secretsmanager:*:*:secret:fixture-revocations-prod-??????" in sentence
    assert ".chalice/policy-authorizer-prod.json" in sentence
    assert "manage.py secret create" in sentence


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--before", "1"],
        ["--list", "--sub", "alice"],
        ["--list", "--before", "1"],
        ["--forget", "alice", "--sub", "bob"],
        ["--forget", "alice", "--before", "1"],
        ["--forget-everyone", "--everyone"],
    ],
)
def test_it_does_one_thing_at_a_time(project: Project, words: list[str]) -> None:
    assert "Write --sub SUB or --everyone" in refused(project, "--stage", "dev", *words)


@pytest.mark.parametrize("option", ["--sub", "--forget"])
@pytest.mark.parametrize("prefix", ["", "Bearer ", " "])
def test_a_token_is_taken_for_no_subject_and_not_repeated(project: Project, option: str, prefix: str) -> None:
    given = token("user")
    sentence = refused(project, "--stage", "dev", option, prefix + given)
    assert "that is a token" in sentence
    assert not any(part in sentence for part in given.split("."))


@pytest.mark.parametrize("subject", ["", "x" * 256, "é" * 128, "alice\n", "\x1b[2J", "\udcff"])
def test_what_no_token_can_have_for_a_subject_is_refused(project: Project, subject: str) -> None:
    assert "is no subject" in refused(project, "--stage", "dev", "--sub", subject)


@pytest.mark.parametrize(
    "moment",
    [
        "yesterday",
        "-1",
        "1e9",
        "1764000000000",  # milliseconds
        "9999999999",
        "2999-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "2026-01-01",
        "2026-01-01T00:00:00",  # whose clock?
        "",
    ],
)
def test_a_time_that_is_not_in_the_past_for_sure_is_refused(project: Project, moment: str) -> None:
    assert "is no time in the past" in refused(project, "--stage", "dev", "--sub", "alice", "--before", moment)


def with_lifetime(project: Path, seconds: int) -> stage.Stage:
    old = '"JWT_SECRET_ID": "fixture-key-dev"'
    change(project / ".chalice" / "config.json", old, f'{old}, "JWT_MAX_LIFETIME_SECONDS": "{seconds}"')
    return stage.load(project_of(project), "dev")


def test_tokens_that_have_all_expired_need_no_entry(project_copy: Path) -> None:
    bounded = with_lifetime(project_copy, 3600)
    with pytest.raises(Fault, match="have all expired"):
        revocation.end(bounded, ["alice"], everyone=False, until=1000, now=1000 + 3600 + revocation.MARGIN)


def test_the_list_says_until_when_an_entry_is_kept(project_copy: Path) -> None:
    revoked = Revocations(1000, {"bob": 5000, "al\x1bice": 6000})
    bounded = with_lifetime(project_copy, 3600)
    assert revocation.rows(bounded, revoked) == [
        ["Subject", "Issued up to", "Kept until"],
        ["(everyone)", "1970-01-01T00:16:40Z", "1970-01-01T02:16:40Z"],
        ["al\\x1bice", "1970-01-01T01:40:00Z", "1970-01-01T03:40:00Z"],
        ["bob", "1970-01-01T01:23:20Z", "1970-01-01T03:23:20Z"],
    ]


def test_without_a_bound_on_lifetimes_an_entry_is_kept(project: Project) -> None:
    rows = revocation.rows(stage.load(project, "dev"), Revocations(subjects={"bob": 5000}))
    assert rows[1:] == [["bob", "1970-01-01T01:23:20Z", "-"]]


def test_the_authorizer_reads_what_is_written() -> None:
    for revoked in (Revocations(), Revocations(7, {"alice": 5, 'b"ö\\': 6})):
        assert parse(revocation.text(revoked)) == revoked


# What deploy checks of it.

ARN = "arn:*:secretsmanager:*:*:secret:fixture-revocations-dev-??????"


@pytest.mark.parametrize("provider", [False, True])
def test_the_authorizers_policy_must_let_it_read_the_list(project_copy: Path, *, provider: bool) -> None:
    folder = project_copy / ".chalice"
    change(folder / "policy-authorizer-dev.json", ARN, ARN.replace("dev", "other"))
    if provider:
        with_provider = '"JWT_JWKS_URL": "https://x.example/k", "JWT_ISSUER": "https://x.example", "JWT_AUDIENCE": "us"'
        change(folder / "config.json", '"JWT_SECRET_ID": "fixture-key-dev"', with_provider)
    with pytest.raises(Fault, match="does not let jwt_authorizer use the secret fixture-revocations-dev") as refusal:
        list(deployment.check(stage.load(project_of(project_copy), "dev")))
    assert f"put {ARN} in it" in refusal.value.message


def test_a_stage_without_a_list_needs_no_more_permissions(project_copy: Path) -> None:
    assert "jwt_authorizer" in dict(deployment.check(stage.load(project_of(project_copy), "prod")))["permissions"]


# What why says.


@pytest.mark.parametrize(
    ("revoked", "takes_back"),
    [
        (Revocations(-1, {"alice": 4_000_000_000}), "tokens of 'alice'"),
        (Revocations(4_000_000_000, {"alice": 3}), "everyone's tokens"),
    ],
)
def test_why_says_whose_sessions_were_ended_and_how_it_is_undone(
    project: Project, revoked: Revocations, takes_back: str
) -> None:
    settings = from_environment({"JWT_SECRET_ID": "the-secret"})
    keys = hmac_keys(SECRET, "v1", settings.algorithms, "the secret")
    case = why.Case(project.table, settings, KeySet(keys, revoked), "dev")
    explained = why.explain(token("user"), "GET", "/items", project, case, time.time())
    option = "--forget alice" if revoked.subjects["alice"] > 3 else "--forget-everyone"
    said = "\n".join(why.show(explained))
    assert "401 Unauthorized (revoked), by the authorizer" in said
    assert f"Here: {takes_back} that were issued up to 2096-10-02T07:06:40Z are refused" in said
    assert f"manage.py revoke --stage dev {option} takes it back" in said
    local = why.explain(token("user"), "GET", "/items", project, replace(case, stage=None), time.time())
    assert "--stage STAGE" in "\n".join(why.show(local))
