"""What `deploy` and `package` refuse before Chalice runs: each in a sentence that names the fix."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chalicelib.guard.settings import SettingsError
from operations import deployment, stage
from operations.fault import Fault
from tests.support.project import change, project_of

HASHED = "--hash=sha256:" + "0" * 64


@pytest.fixture(autouse=True)
def region(environment: Callable[..., None]) -> None:
    environment(AWS_DEFAULT_REGION="eu-central-1")


def checked(project: Path, name: str = "dev") -> dict[str, str]:
    return dict(deployment.check(stage.load(project_of(project), name)))


def refused(project: Path, name: str = "dev") -> str:
    with pytest.raises((Fault, SettingsError)) as refusal:
        checked(project, name)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def configure(project: Path, edit: Callable[[Any], object], name: str = "dev") -> None:
    """Change a stage in .chalice/config.json."""
    file = project / ".chalice" / "config.json"
    config = json.loads(file.read_text())
    edit(config["stages"][name])
    file.write_text(json.dumps(config))


def set_variables(project: Path, name: str = "dev", **variables: Any) -> None:
    configure(project, lambda its: its["environment_variables"].update(variables), name)


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_a_good_project_passes_and_learns_where_permissions_go(project_copy: Path, name: str) -> None:
    found = checked(project_copy, name)
    assert found["name"] == "fixture"
    assert found["Region"] == "eu-central-1"
    assert f"(DynamoDB, S3, ...) goes into .chalice/policy-api-{name}.json" in found["permissions"]
    assert ("rotate_secret" in found["permissions"]) == (name == "prod")


def test_a_region_is_needed(project_copy: Path, environment: Callable[..., None]) -> None:
    environment(AWS_DEFAULT_REGION=None)
    assert "set AWS_DEFAULT_REGION" in refused(project_copy)


@pytest.mark.parametrize("name", ["local", "staging", "../dev", ""])
def test_a_stage_that_is_not_there_is_named(project_copy: Path, name: str) -> None:
    assert "choose one of dev, prod" in refused(project_copy, name)


@pytest.mark.parametrize("text", ["{", "[]", '{"stages": 1}', "{}"])
def test_a_broken_configuration_is_named(project_copy: Path, text: str) -> None:
    (project_copy / ".chalice" / "config.json").write_text(text)
    assert ".chalice/config.json cannot be read" in refused(project_copy)


def test_the_apps_two_names_must_agree(project_copy: Path) -> None:
    change(project_copy / "app.py", 'app_name="fixture"', 'app_name="shop"')
    sentence = refused(project_copy)
    assert "'shop' in app.py and 'fixture' in .chalice/config.json" in sentence


def test_a_disagreement_of_table_and_app_is_refused(project_copy: Path) -> None:
    change(project_copy / "chalicelib" / "rules.py", '("POST", "/items")', '("PUT", "/items")')
    sentence = refused(project_copy)
    assert "PUT /items is in the table but app.py has no such route" in sentence
    assert "POST /items is in app.py but in no row" in sentence


def test_a_fault_in_app_py_is_refused(project_copy: Path) -> None:
    change(project_copy / "app.py", "guard = Guard(app, RULES)", "guard = Gard(app, RULES)")
    assert "app.py, line 14: NameError: name 'Gard' is not defined" in refused(project_copy)


def test_what_chalice_itself_refuses_is_a_sentence(project_copy: Path) -> None:
    configure(project_copy, lambda its: its.update(api_gateway_endpoint_type="EVERYWHERE"))
    assert "api gateway endpoint type must be one of" in refused(project_copy)


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"JWT_LEEWAY_SECONDS": "x"}, "JWT_LEEWAY_SECONDS"),
        ({"JWT_MAX_LIFETIME": "60"}, "write JWT_MAX_LIFETIME_SECONDS"),
        ({"JWT_LEEWAY_SECONDS": 10}, "JWT_LEEWAY_SECONDS of stage dev is no text"),
        ({"CORS_ALLOWED_ORIGIN": "https://app.example/"}, "CORS_ALLOWED_ORIGIN"),
    ],
)
def test_a_wrong_setting_is_named(project_copy: Path, variables: dict[str, Any], named: str) -> None:
    set_variables(project_copy, **variables)
    assert named in refused(project_copy)


# Policies.

SCHEDULED = """

@app.schedule("rate(1 day)")
def nightly(event):
    pass
"""


def test_each_function_needs_a_policy_and_the_sentence_says_where(project_copy: Path) -> None:
    app = project_copy / "app.py"
    app.write_text(app.read_text() + SCHEDULED)
    sentence = refused(project_copy)
    assert "The function nightly has no policy that can be read: .chalice/policy-dev.json" in sentence
    assert '"iam_policy_file": "policy-nightly-dev.json"' in sentence
    assert "stages.dev.lambda_functions.nightly of .chalice/config.json" in sentence
    assert "goes into .chalice/policy-api-dev.json" in sentence


def test_a_function_with_a_policy_of_its_own_passes(project_copy: Path) -> None:
    app, folder = project_copy / "app.py", project_copy / ".chalice"
    app.write_text(app.read_text() + SCHEDULED)
    configure(
        project_copy, lambda its: its["lambda_functions"].update(nightly={"iam_policy_file": "policy-nightly-dev.json"})
    )
    policy = (folder / "policy-api-dev.json").read_text()
    (folder / "policy-nightly-dev.json").write_text(policy.replace("fixture-dev", "fixture-dev-nightly"))
    assert "nightly" in checked(project_copy)["permissions"]


@pytest.mark.parametrize("function", ["api", "authorizer"])
@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"Statement": [{}]}', '{"Statement": 1}'])
def test_a_policy_that_is_none_is_named(project_copy: Path, function: str, text: str | None) -> None:
    file = project_copy / ".chalice" / f"policy-{function}-dev.json"
    file.unlink() if text is None else file.write_text(text)
    assert f".chalice/policy-{function}-dev.json (" in refused(project_copy)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("fixture-key-dev-??????", "fixture-key-other-??????"),
        ("secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"),
        (
            '"Effect": "Allow",\n      "Action": [\n        "secretsm',
            '"Effect": "Deny",\n      "Action": [\n        "secretsm',
        ),
    ],
)
def test_the_authorizers_policy_must_let_it_read_the_secret(project_copy: Path, old: str, new: str) -> None:
    change(project_copy / ".chalice" / "policy-authorizer-dev.json", old, new)
    sentence = refused(project_copy)
    assert "policy-authorizer-dev.json does not let jwt_authorizer use the secret fixture-key-dev" in sentence
    assert "arn:*:secretsmanager:*:*:secret:fixture-key-dev-??????" in sentence


def test_the_rotations_policy_must_be_for_the_same_secret(project_copy: Path) -> None:
    change(project_copy / ".chalice" / "policy-rotation-prod.json", "fixture-key-??????", "other-??????")
    assert "policy-rotation-prod.json does not let rotate_secret use the secret fixture-key" in refused(
        project_copy, "prod"
    )


@pytest.mark.parametrize("action", ["secretsmanager:*", "secretsmanager:Get*", "secretsmanager:getsecretvalue"])
def test_a_policy_may_be_written_in_other_words(project_copy: Path, action: str) -> None:
    file = project_copy / ".chalice" / "policy-authorizer-dev.json"
    policy = json.loads(file.read_text())
    policy["Statement"][0] |= {"Action": action, "Resource": "arn:*:secretsmanager:*:*:secret:fixture-*"}
    file.write_text(json.dumps(policy))
    assert "jwt_authorizer" in checked(project_copy)["permissions"]


def test_a_secret_may_be_named_by_its_arn(project_copy: Path) -> None:
    arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:fixture-key-dev-AbCdEf"
    set_variables(project_copy, JWT_SECRET_ID=arn)
    assert "jwt_authorizer" in checked(project_copy)["permissions"]
    set_variables(project_copy, JWT_SECRET_ID=arn.replace("fixture", "other"))
    assert f"put {arn.replace('fixture', 'other')} in it" in refused(project_copy)


def test_a_policy_must_let_its_function_write_its_log(project_copy: Path) -> None:
    file = project_copy / ".chalice" / "policy-api-dev.json"
    file.write_text(file.read_text().replace("/fixture-dev", "/another-name-dev"))
    sentence = refused(project_copy)
    assert "policy-api-dev.json does not let api_handler write its log" in sentence
    assert "put arn:*:logs:*:*:log-group:/aws/lambda/fixture-dev:* in it" in sentence


def test_a_policy_that_chalice_makes_up_is_none_for_the_authorizer(project_copy: Path) -> None:
    configure(project_copy, lambda its: its["lambda_functions"]["jwt_authorizer"].update(autogen_policy=True))
    assert "set autogen_policy to false" in refused(project_copy)
    configure(project_copy, lambda its: its["lambda_functions"]["jwt_authorizer"].update(autogen_policy=False))
    configure(project_copy, lambda its: its["lambda_functions"]["api_handler"].update(autogen_policy=True))
    assert "api_handler" in checked(project_copy)["permissions"]


def test_a_role_that_was_made_elsewhere_is_not_looked_at(project_copy: Path) -> None:
    role = {"manage_iam_role": False, "iam_role_arn": "arn:aws:iam::123456789012:role/x"}
    configure(project_copy, lambda its: its["lambda_functions"]["jwt_authorizer"].update(role))
    (project_copy / ".chalice" / "policy-authorizer-dev.json").unlink()
    assert "jwt_authorizer" in checked(project_copy)["permissions"]


def test_a_rotation_that_is_asked_for_needs_its_function(project_copy: Path) -> None:
    change(project_copy / "app.py", "rotate_secret = guard.rotation()\n", "")
    assert "write rotate_secret = guard.rotation() there" in refused(project_copy, "prod")


def test_a_rotation_is_never_for_a_provider(project_copy: Path) -> None:
    provider = {
        "JWT_JWKS_URL": "https://issuer.example/keys",
        "JWT_ISSUER": "https://issuer.example",
        "JWT_AUDIENCE": "us",
    }
    set_variables(project_copy, "prod", **provider)
    assert "JWT_ROTATION_DAYS is set with JWT_JWKS_URL" in refused(project_copy, "prod")


# Requirements.


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (f"pyjwt==2.15.1 {HASHED}\nrequests==2.0\n", "requests==2.0 has no --hash"),
        (f"requests==2.0  # ours\npyjwt==2.15.1 \\\n    {HASHED}\n", "requests==2.0 has no --hash"),
        ("-r other.txt\nrequests==2.0\n", "requests==2.0 has no --hash"),
        ("-r missing.txt\n", "missing.txt cannot be read"),
    ],
)
def test_requirements_that_pip_would_refuse_are_named(project_copy: Path, text: str, named: str) -> None:
    (project_copy / "other.txt").write_text(f"pyjwt==2.15.1 {HASHED}\n")
    (project_copy / "requirements.txt").write_text(text)
    assert named in refused(project_copy)


@pytest.mark.parametrize(
    "text", ["pyjwt==2.15.1\nrequests==2.0\n", f"# ours\n--no-binary :all:\npyjwt==2.15.1 {HASHED}\n", ""]
)
def test_requirements_have_hashes_all_or_none(project_copy: Path, text: str) -> None:
    (project_copy / "requirements.txt").write_text(text)
    assert "requirements" in checked(project_copy)


@pytest.mark.parametrize(
    ("line", "passes"), [("", False), ("-r requirements/jwks.txt\n", True), ("# cryptography\n", False)]
)
def test_a_provider_needs_cryptography(project_copy: Path, line: str, passes: bool) -> None:
    provider = {
        "JWT_JWKS_URL": "https://issuer.example/keys",
        "JWT_ISSUER": "https://issuer.example",
        "JWT_AUDIENCE": "us",
    }
    set_variables(project_copy, **provider)
    file = project_copy / "requirements.txt"
    file.write_text(file.read_text() + line)
    if passes:
        assert checked(project_copy)
    else:
        assert "JWT_JWKS_URL needs cryptography" in refused(project_copy)
