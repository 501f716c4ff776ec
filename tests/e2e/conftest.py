"""The embedded AWS, started once for all end-to-end tests, and its stages, deployed on it by manage.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import embedded_aws, sample
from tests.support.deployed import Deployed
from tests.support.embedded_aws import EmbeddedAws
from tests.support.project import copy_project

#: Whoever has an app and a README of their own has no use for the tests of ours.
collect_ignore = [] if sample.is_here() else ["test_readme.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def aws() -> Iterator[EmbeddedAws]:
    with embedded_aws.running(CLOUDTRAIL_RECORDING="1") as running:
        yield running


@pytest.fixture(scope="session")
def dev(aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    return _deployed(aws, tmp_path_factory.mktemp("dev"), "dev", "fixture-key-dev")


@pytest.fixture(scope="session")
def prod(aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """The stage that has a rotation."""
    return _deployed(aws, tmp_path_factory.mktemp("prod"), "prod", "fixture-key")


def _deployed(aws: EmbeddedAws, folder: Path, stage: str, secret_id: str) -> Deployed:
    deployed = Deployed(aws, copy_project(folder / "project"), stage, secret_id)
    deployed.manage("secret", "create", "--stage", stage)
    deployed.printed = deployed.manage("deploy", "--stage", stage)
    return deployed
