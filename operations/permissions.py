"""What each deployed function may do: the policy files that .chalice/config.json names."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from operations.fault import Fault
from operations.project import AUTHORIZER, ROTATION
from operations.stage import Stage

API = "api_handler"
#: What these functions' policies are called; others are called after the function.
_FILES = {API: "policy-api", AUTHORIZER: "policy-authorizer", ROTATION: "policy-rotation"}
#: In the place of what only a deployment knows.
REGION_AND_ACCOUNT = "eu-central-1:123456789012"


def check(stage: Stage) -> Iterator[str]:
    """Yield the name of each function, once its policy is found good; Fault, with the fix, at the first that is not."""
    functions = _functions(stage)
    if stage.settings.rotation_days is not None and ROTATION not in functions:
        raise Fault(
            f"JWT_ROTATION_DAYS is set, and app.py has no function for it: write {ROTATION} = guard.rotation() there."
        )
    for name, function in functions.items():
        policy = getattr(function.role, "policy", None)
        if hasattr(policy, "filename"):
            _check_policy(stage, name, function.function_name)
        elif name in {AUTHORIZER, ROTATION} and policy is not None:
            # Chalice writes a policy after what it sees in app.py, and the guard's calls are not there.
            raise Fault(
                f"Chalice would make up a policy for {name}, without the secret: set autogen_policy to false and"
                f' "iam_policy_file": "{_FILES[name]}-{stage.name}.json" under {_place(stage, name)}.'
            )
        yield name  # a role that was made elsewhere is not ours to look at


def _functions(stage: Stage) -> dict[str, Any]:
    """Return Chalice's own model of each function that it would deploy, by the name that app.py gives it."""
    from chalice.deploy.appgraph import ApplicationGraphBuilder, DependencyBuilder
    from chalice.deploy.validate import ExperimentalFeatureError, validate_configuration

    try:
        with warnings.catch_warnings(action="ignore"):  # of the Python version, which is checked for itself
            validate_configuration(stage.config)
        graph = ApplicationGraphBuilder().build(stage.config, stage.name)
    except (ValueError, TypeError, ExperimentalFeatureError) as error:
        raise Fault(f"Chalice refuses app.py or .chalice/config.json: {' '.join(str(error).split())}") from None
    models: list[Any] = DependencyBuilder().build_dependencies(graph)
    return {model.resource_name: model for model in models if hasattr(model, "function_name")}


def _check_policy(stage: Stage, name: str, function: str) -> None:
    file = stage.policy_file(name)
    try:
        statements = _listed(json.loads((stage.project.chalice_folder / file).read_text(encoding="utf-8"))["Statement"])
        granted = [
            (action, resource)
            for statement in statements
            if statement["Effect"] == "Allow"
            for action in _listed(statement.get("Action", []))
            for resource in _listed(statement.get("Resource", []))
        ]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise Fault(
            f"The function {name} has no policy that can be read: .chalice/{file} ({type(error).__name__}). Name one:"
            f' "iam_policy_file": "{_FILES.get(name, f"policy-{name}")}-{stage.name}.json" under {_place(stage, name)},'
            f" and let it say what the function may do: write its log at least, as others there do. {views_own(stage)}"
        ) from None

    def may(action: str, resource: str) -> bool:
        return any(
            fnmatchcase(action.lower(), given.lower()) and fnmatchcase(resource, where) for given, where in granted
        )

    log = f"log-group:/aws/lambda/{function}:*"
    if not may("logs:PutLogEvents", f"arn:aws:logs:{REGION_AND_ACCOUNT}:{log.replace('*', 'log-stream:any')}"):
        raise Fault(f".chalice/{file} does not let {name} write its log: put arn:*:logs:*:*:{log} in it.")
    for action, secret in _secrets(stage, name):
        arn = f"arn:aws:secretsmanager:{REGION_AND_ACCOUNT}:secret:{secret}-AbCdEf"
        if not may(f"secretsmanager:{action}", secret if secret.startswith("arn:") else arn):
            wanted = secret if secret.startswith("arn:") else f"arn:*:secretsmanager:*:*:secret:{secret}-??????"
            raise Fault(f".chalice/{file} does not let {name} use the secret {secret} ({action}): put {wanted} in it.")


def _secrets(stage: Stage, function: str) -> Iterator[tuple[str, str]]:
    """Yield what the function does in Secrets Manager, and with which secret."""
    settings = stage.settings
    action = {AUTHORIZER: "GetSecretValue", ROTATION: "PutSecretValue"}.get(function)
    if action is not None and settings.jwks_url is None:
        yield action, settings.secret_id
    if function == AUTHORIZER and settings.revocations_secret_id is not None:
        yield "GetSecretValue", settings.revocations_secret_id


def views_own(stage: Stage) -> str:
    """Return where the permissions of views go."""
    return f"What your views may call (DynamoDB, S3, ...) goes into .chalice/{stage.policy_file(API)}."


def _place(stage: Stage, name: str) -> str:
    return f"stages.{stage.name}.lambda_functions.{name} of .chalice/config.json"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
