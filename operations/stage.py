"""A stage of .chalice/config.json, and the AWS account that this process has credentials for."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
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
from chalice.app import Chalice
from chalice.config import Config

from chalicelib.guard.settings import Settings, from_environment
from operations.fault import Fault
from operations.project import AUTHORIZER, Project


@dataclass(frozen=True)
class Stage:
    """`settings` are those that the stage's authorizer will run with; `project` imports app.py as the stage has it."""

    name: str
    config: Config
    settings: Settings
    project: Project

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

    def function_name(self, function: str) -> str:
        """Return the name that Chalice gives a function in Lambda."""
        return f"{self.config.app_name}-{self.name}-{function}"

    def policy_file(self, function: str) -> str:
        """Return the name of the file in .chalice/ that says what a function may do."""
        return str(self.config.scope(self.name, function).iam_policy_file or f"policy-{self.name}.json")

    def _deployed(self, resource: str) -> dict[str, str]:
        deployed = self.config.deployed_resources(self.name)
        if resource not in deployed.resource_names():
            raise Fault(f"Stage {self.name} is not deployed from here: run manage.py deploy --stage {self.name}.")
        values: dict[str, str] = deployed.resource_values(resource)
        return values


def load(project: Project, name: str) -> Stage:
    """Return the stage; Fault for one that the configuration does not know or that is not for AWS."""
    # Imported here: it brings a library that asks the terminal what it can do, and waits for those that do not say.
    from chalice.cli.factory import CLIFactory

    class Factory(CLIFactory):
        def load_chalice_app(self, *_: Any, **__: Any) -> Chalice:
            return own.app  # with the stage's variables, and with a sentence for what is wrong

    if name not in names(project):
        raise Fault(f"There is no stage {name!r} to deploy: choose one of {', '.join(names(project))}.")
    try:
        config = Factory(str(project.folder)).create_config_obj(chalice_stage_name=name)
    except Exception as error:  # noqa: BLE001  # Chalice has no class of its own for what it says of this file
        raise Fault(f".chalice/config.json cannot be used: {error}") from None
    variables = config.scope(name, AUTHORIZER).environment_variables
    for variable, value in {**config.environment_variables, **variables}.items():
        if not isinstance(value, str):
            raise Fault(f"{variable} of stage {name} is no text: write it in quotes in .chalice/config.json.")
    own = project.for_stage(config.environment_variables)
    return Stage(name, config, from_environment(variables), own)


def names(project: Project) -> tuple[str, ...]:
    """Return the stages that are for AWS; Fault if the file cannot be read."""
    try:
        stages = _config(project)["stages"]
        return tuple(sorted(stage for stage in stages if stage != "local"))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise Fault(f".chalice/config.json cannot be read ({type(error).__name__}).") from None


def local_environment(project: Project) -> dict[str, str]:
    """Return this process's environment with the variables of the stage `local`, as `chalice local` has it."""
    given: dict[str, str] = {}
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        config = _config(project)
        given |= config.get("environment_variables", {})
        given |= config["stages"]["local"].get("environment_variables", {})
    return {**os.environ, **given}


def local_settings(project: Project) -> Settings:
    """Return the settings of `chalice local` on this machine."""
    return from_environment(local_environment(project))


def _config(project: Project) -> Any:
    return json.loads((project.chalice_folder / "config.json").read_text(encoding="utf-8"))


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
        said = error.response.get("Error", {})
        raise Fault(f"AWS refused {error.operation_name} ({said.get('Code')}): {said.get('Message')}") from None
    except BotoCoreError as error:
        raise Fault(f"AWS could not be asked: {error}") from None
