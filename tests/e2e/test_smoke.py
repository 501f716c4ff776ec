"""`manage.py smoke`: a deployed stage that answers as the tutorial says, and one that does not."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.e2e.conftest import Deployed


def smoke(dev: Deployed, stage: str = "dev") -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "manage.py", "smoke", "--stage", stage],
        cwd=dev.project,
        env=dev.aws.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_good_stage_passes_and_one_that_is_broken_does_not_until_it_is_mended(dev: Deployed) -> None:
    code, printed = smoke(dev)
    assert code == 0, printed
    assert len(re.findall(r"^(?:GET|POST) .*  ok$", printed, re.MULTILINE)) == 6
    assert "All 6 hold." in printed
    dev.restart("jwt_authorizer", JWT_LEEWAY_SECONDS="x")
    try:
        code, printed = smoke(dev)
    finally:
        dev.restart("jwt_authorizer", JWT_LEEWAY_SECONDS="")
    assert code == 1
    assert len(re.findall(r"^GET as user .*  500 .*WRONG$", printed, re.MULTILINE)) == 1
    assert "Only 1 of 6 hold" in printed  # without a token nobody asks the authorizer
    assert smoke(dev)[0] == 0


def test_a_stage_that_is_not_deployed_is_a_sentence(dev: Deployed) -> None:
    code, printed = smoke(dev, "prod")
    assert code == 2
    assert printed.startswith("Error: Stage prod is not deployed")


def test_a_stage_of_a_provider_wants_tokens_in_the_environment(dev: Deployed) -> None:
    config = dev.project / ".chalice" / "config.json"
    had = config.read_text()
    provider = (
        '"JWT_JWKS_URL": "https://issuer.example/jwks", "JWT_ISSUER": "https://issuer.example", "JWT_AUDIENCE": "us"'
    )
    config.write_text(had.replace('"JWT_SECRET_ID": "jwt-secret-key-dev"', provider))
    try:
        code, printed = smoke(dev)
    finally:
        config.write_text(had)
    assert code == 2
    assert "USER_TOKEN and ADMIN_TOKEN" in printed
