"""Functions in the embedded Lambda that live as they do on AWS: AWS's own runtime client, awslambdaric, runs them.

ministack's own Python worker ends an execution environment whenever a handler raises, as an authorizer does for
every 401. Behind Lambda's Runtime API, which ministack serves for custom runtimes, the environment lives on, with its
cached keys. The package is the one that `chalice deploy` made, with a `bootstrap` beside it.
"""

from __future__ import annotations

import contextlib
import io
import sys
import time
import zipfile
from collections.abc import Iterator

import psutil

from tests.support.embedded_aws import EmbeddedAws

RUNTIME = "provided.al2023"
_BOOTSTRAP = f'#!/bin/sh\nexec {sys.executable} -m awslambdaric "$_HANDLER"\n'


def package(deployed: bytes) -> bytes:
    """Return the deployment package, a zip file, with what starts it under `RUNTIME`."""
    packed = io.BytesIO(deployed)
    with zipfile.ZipFile(packed, "a") as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16  # Lambda wants it executable
        archive.writestr(entry, _BOOTSTRAP)
    return packed.getvalue()


@contextlib.contextmanager
def adopted(aws: EmbeddedAws, function: str, deployed: bytes, **variables: str) -> Iterator[None]:
    """Let a deployed function run under AWS's runtime client for a while, with these variables beside its own."""
    client = aws.client("lambda")
    had = client.get_function_configuration(FunctionName=function)
    given = had.get("Environment", {"Variables": {}})["Variables"]

    def run(runtime: str, code: bytes, environment: dict[str, str]) -> None:
        client.update_function_code(FunctionName=function, ZipFile=code)
        client.update_function_configuration(
            FunctionName=function, Runtime=runtime, Environment={"Variables": environment}
        )

    # To ministack's own workers it gives its address by itself.
    run(RUNTIME, package(deployed), {"AWS_ENDPOINT_URL": aws.endpoint_url, **given, **variables})
    try:
        yield
    finally:
        run(had["Runtime"], deployed, given)


def restart(aws: EmbeddedAws, function: str, **variables: str) -> None:
    """Give the function new execution environments, as Lambda does when its configuration changes.

    An empty variable is an unset one to it.
    """
    client = aws.client("lambda")
    # Not GetFunctionConfiguration, which the adapter answers when the function is ready: that need not be waited for.
    had = client.get_function(FunctionName=function)["Configuration"].get("Environment", {}).get("Variables", {})
    changed = {**had, **variables, "RESTARTED": f"{time.time_ns()}"}
    client.update_function_configuration(FunctionName=function, Environment={"Variables": changed})


def environments(function: str) -> list[psutil.Process]:
    """Return the execution environments of a function, which are processes that this one started."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile
            if child.environ().get("AWS_LAMBDA_FUNCTION_NAME") == function:
                found.append(child)
    return found
