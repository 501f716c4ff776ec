"""`manage.py smoke`: a deployed stage that answers as its table says, and one that does not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.deployed import Deployed

#: What the table of the engine's service, with its examples, leads to.
REQUESTS = 19
PROVIDER = {"JWT_JWKS_URL": "https://issuer.example/jwks", "JWT_ISSUER": "https://issuer.example", "JWT_AUDIENCE": "us"}


def smoke(dev: Deployed, stage: str = "dev", **variables: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "manage.py", "smoke", "--stage", stage],
        cwd=dev.project,
        env=dev.aws.environment(**variables),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_good_stage_passes_and_a_broken_one_fails_until_it_is_fixed(dev: Deployed) -> None:
    code, printed = smoke(dev)
    assert code == 0, printed
    assert len(re.findall(r"^(?:GET|POST) .*  ok$", printed, re.MULTILINE)) == REQUESTS
    assert f"All {REQUESTS} hold." in printed
    dev.restart("jwt_authorizer", JWT_LEEWAY_SECONDS="x")
    try:
        code, printed = smoke(dev)
    finally:
        dev.restart("jwt_authorizer", JWT_LEEWAY_SECONDS="")
    assert code == 1
    assert len(re.findall(r"^GET /items +user .*  500 .*WRONG$", printed, re.MULTILINE)) == 1
    # Without a token nobody asks the authorizer: four guarded routes, and the public one.
    assert f"Only 5 of {REQUESTS} hold" in printed
    assert smoke(dev)[0] == 0


def test_a_stage_that_is_not_deployed_is_a_sentence(dev: Deployed) -> None:
    code, printed = smoke(dev, "prod")
    assert code == 2
    assert printed.startswith("Error: Stage prod is not deployed")


@contextmanager
def of_a_provider(dev: Deployed) -> Iterator[None]:
    file = dev.project / ".chalice" / "config.json"
    had = file.read_text()
    config = json.loads(had)
    config["stages"]["dev"]["environment_variables"] = PROVIDER
    file.write_text(json.dumps(config))
    try:
        yield
    finally:
        file.write_text(had)


def test_a_stage_of_a_provider_says_which_tokens_are_missing(dev: Deployed) -> None:
    with of_a_provider(dev):
        code, printed = smoke(dev, ADMIN_TOKEN=dev.token("admin"))
    assert code == 2
    assert "https://issuer.example" in printed
    assert printed.rstrip().endswith("environment variables SUPPORT_TOKEN, USER_TOKEN.")


def test_a_providers_tokens_are_asked_with_and_own_their_subjects_path(dev: Deployed) -> None:
    tokens = {f"{role.upper()}_TOKEN": dev.token(role, sub=f"{role}|1") for role in ("admin", "support", "user")}
    with of_a_provider(dev):
        code, printed = smoke(dev, **tokens)
    assert code == 0, printed
    assert f"All {REQUESTS} hold." in printed
    assert not any(token in printed for token in tokens.values())
