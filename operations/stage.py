"""A stage of .chalice/config.json, and the AWS account that this process has credentials for."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config as ClientConfig
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
)
from chalice.config import Config

from chalicelib.guard.settings import Settings, from_environment
from operations.fault import Fault

PROJECT = Path(__file__).parents[1]
AUTHORIZER = "jwt_authorizer"
ROTATION = "rotate_secret"


@dataclass(frozen=True)
class Stage:
    """`settings` are those that the stage's authorizer will run with."""

    name: str
    config: Config
    settings: Settings

    def client(self, service: str) -> Any:
        """Return an AWS client; use it inside `aws_errors`."""
        return boto3.client(service, config=ClientConfig(connect_timeout=5, retries={"mode": "standard"}))

    def api_url(self) -> str:
        """Return where the deployed API answers."""
        api = self._deployed("rest_api")
        emulator = os.environ.get("AWS_ENDPOINT_URL")
        if emulator:
            stage = self.config.api_gateway_stage
            return f"{emulator}/restapis/{api['rest_api_id']}/{stage}/_user_request_"
        return str(api["rest_api_url"]).rstrip("/")

    def api_id(self) -> str:
        """Return the id of the deployed REST API."""
        return self._deployed("rest_api")["rest_api_id"]

    def function_arn(self, name: str) -> str:
        """Return the ARN of a deployed function."""
        return self._deployed(name)["lambda_arn"]

    def _deployed(self, resource: str) -> dict[str, str]:
        deployed = self.config.deployed_resources(self.name)
        if resource not in deployed.resource_names():
            raise Fault(f"Stage {self.name} is not deployed from here: run manage.py deploy --stage {self.name}.")
        values: dict[str, str] = deployed.resource_values(resource)
        return values


def load(name: str) -> Stage:
    """Return the stage; Fault for one that the configuration does not know or that is not for AWS."""
    # Imported here: it brings a library that asks the terminal what it can do, and waits for those that do not say.
    from chalice.cli.factory import CLIFactory

    try:
        config = CLIFactory(str(PROJECT)).create_config_obj(chalice_stage_name=name)
    except RuntimeError as error:  # what Chalice makes of a file that is not there or is no JSON
        raise Fault(f".chalice/config.json cannot be read: {error}") from None
    if name not in names():
        raise Fault(f"There is no stage {name!r} to deploy: choose one of {', '.join(names())}.")
    variables = config.scope(name, AUTHORIZER).environment_variables
    return Stage(name, config, from_environment(variables))


def names() -> tuple[str, ...]:
    """Return the stages that are for AWS; Fault where there is no telling."""
    try:
        stages = json.loads((PROJECT / ".chalice" / "config.json").read_text())["stages"]
    except (OSError, ValueError, LookupError) as error:
        raise Fault(f".chalice/config.json cannot be read ({type(error).__name__}).") from None
    return tuple(sorted(stage for stage in stages if stage != "local"))


@contextlib.contextmanager
def aws_errors() -> Iterator[None]:
    """Turn what AWS refuses into a Fault of one sentence."""
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError):
        raise Fault(
            "There are no AWS credentials: run aws configure or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and"
            " AWS_SECRET_ACCESS_KEY."
        ) from None
    except NoRegionError:
        raise Fault("There is no AWS Region: set AWS_DEFAULT_REGION, for example to eu-central-1.") from None
    except ClientError as error:
        told = error.response.get("Error", {})
        raise Fault(f"AWS refused {error.operation_name} ({told.get('Code')}): {told.get('Message')}") from None
    except BotoCoreError as error:
        raise Fault(f"AWS could not be asked: {error}") from None
