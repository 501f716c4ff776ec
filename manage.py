"""The operator's command line. Not shipped to Lambda."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from chalicelib import keys, rules, settings
from operations import deployment, matrix, minting, secret, stage
from operations.fault import Fault

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Seconds(click.ParamType[int]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"(\d{1,6})([smhd])", str(value))
        if match is None:
            self.fail(f"{value!r} is no duration: write a number and s, m, h or d, like 1h", param, ctx)
        return int(match[1]) * UNITS[match[2]]


def parse_claims(_ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]) -> dict[str, Any]:
    claims: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"{text!r} is no claim: write name=value")
        try:
            claims[name] = json.loads(value)
        except ValueError:
            claims[name] = value
    return claims


def show(checks: Iterable[tuple[str, str]]) -> None:
    for check, found in checks:
        click.echo(f"ok  {check}: {found}")


stage_option = click.option("--stage", "stage_name", required=True, help="A stage of .chalice/config.json.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Run the API guard on this machine, deploy it, and look at what it does."""


@cli.command()
@click.option("--sub", "subject", default="alice", show_default=True, help="The subject: who calls.")
@click.option("--role", "roles", multiple=True, help="A role of the caller; may be given more than once.")
@click.option("--ttl", type=Seconds(), default="1h", show_default=True, help="How long the token lives.")
@click.option(
    "--claim",
    "claims",
    multiple=True,
    callback=parse_claims,
    metavar="NAME=VALUE",
    help="Another claim, or another value for one; the value is JSON or else text.",
)
@click.option("--stage", "stage_name", help="Sign with this stage's secret in Secrets Manager.")
def token(subject: str, roles: tuple[str, ...], ttl: int, claims: dict[str, Any], stage_name: str | None) -> None:
    """Print a token for development, signed with AUTHORIZER_SECRET, this machine's local secret or a stage's."""
    for role in sorted(set(roles) - rules.ROLES):
        click.echo(f"Note: the table does not know the role {role!r}, so it grants nothing.", err=True)
    if stage_name is None:
        wanted, kid = settings.current(), None
        key = minting.local_secret(wanted, create=False)
    else:
        chosen = stage.load(stage_name)
        wanted = chosen.settings
        key, kid = secret.signing_key(chosen)
    click.echo(minting.mint(wanted, key, subject, roles, ttl, claims, kid))


@cli.command("rules")
@click.option("--markdown", is_flag=True, help="Print a Markdown table.")
def show_rules(*, markdown: bool) -> None:
    """Print who may call what, and what is wrong with the table."""
    click.echo((matrix.as_markdown if markdown else matrix.as_text)(matrix.cells()))
    wrong = matrix.faults()
    if wrong:
        raise Fault("\n".join(wrong))


@cli.command()
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="Port to use.")
def local(port: int) -> None:
    """Run the API on this machine under `chalice local`; print tokens and curl lines that fit it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise Fault(f"Port {port}: {error.strerror}; choose another with make local PORT=8001.") from None
    key = minting.local_secret(settings.current(), create=True)
    user, admin = (minting.mint(settings.current(), key, name, [name], 3600, {}) for name in ("user", "admin"))
    url = f"http://127.0.0.1:{port}"
    click.echo(f"The API guard on {url}\n\nTwo tokens, good for an hour:\n")
    click.echo(f"user:  {user}\n\nadmin: {admin}\n\nPaste any of these into another terminal:\n")
    tokens = {"user": user, "admin": admin, "spoiled": minting.spoiled(user)}
    click.echo(minting.curl_lines(f"{url}/protected-resource", tokens))
    click.echo("Ctrl-C stops it. Below, a line for each decision.")
    sys.stdout.flush()
    os.chdir(stage.PROJECT)
    # In this process's place, so that Ctrl-C reaches `chalice local` alone.
    chalice = str(Path(sys.executable).with_name("chalice"))
    command = [chalice, "local", "--stage", "local", "--port", str(port)]
    environment = {**os.environ, "AUTHORIZER_SECRET": key, "PYTHONUNBUFFERED": "1"}
    os.execve(chalice, command, environment)  # noqa: S606  # no shell is wanted


@cli.group("secret")
def secret_group() -> None:
    """Make and look at a stage's secret in Secrets Manager; never its value."""


@secret_group.command("create")
@stage_option
def create_secret(stage_name: str) -> None:
    """Make the stage's secret with a strong random value; an existing one is left as it is."""
    made = secret.create(stage.load(stage_name))
    click.echo(f"Made {made}\nNext: manage.py deploy --stage {stage_name}")


@secret_group.command("status")
@stage_option
def secret_status(stage_name: str) -> None:
    """Print the secret's versions, their labels and ages."""
    click.echo(matrix.as_text(secret.status(stage.load(stage_name))))


@secret_group.command("rotate")
@stage_option
@click.option("--token-lifetime", type=Seconds(), help="For how long tokens live; else as the stage bounds it, or 1d.")
@click.option("--force", is_flag=True, help="Even if tokens that are still good end by it.")
@click.option("--leaked", is_flag=True, help="The key is known to others: rotate twice, so that no old key is left.")
def rotate_secret(stage_name: str, token_lifetime: int | None, *, force: bool, leaked: bool) -> None:
    """Make a new key; the present one goes on to verify as the previous one."""
    chosen = stage.load(stage_name)
    version, safe = secret.rotate(chosen, token_lifetime, force=force or leaked)
    ttl = chosen.settings.key_ttl
    if leaked:
        version, _ = secret.rotate(chosen, token_lifetime, force=True)
        click.echo(
            f"Version {version} is the key now, and no older key is left: all sessions end. A running authorizer may"
            f" know the old ones for {ttl} s more, and API Gateway keeps answers that it has had for the authorizer's"
            " TTL; aws apigateway flush-stage-authorizers-cache empties the latter at once."
        )
    else:
        click.echo(
            f"Version {version} is the key now. Tokens signed with the one before it stand as well, until the next"
            f" rotation: not before {safe.isoformat(timespec='seconds')}. Let whoever signs tokens take the new key,"
            f" with its version as kid; authorizers know it within {ttl} s, and at once when they meet it."
        )


@secret_group.command("schedule")
@stage_option
@click.option("--days", type=click.IntRange(1, 1000), default=30, show_default=True, help="How often.")
def schedule_rotation(stage_name: str, days: int) -> None:
    """Let Secrets Manager rotate the secret by itself, with the function that was deployed for it."""
    function = secret.schedule(stage.load(stage_name), days)
    click.echo(f"Secrets Manager rotates the secret every {days} days with {function}")


@cli.command()
@stage_option
def deploy(stage_name: str) -> None:
    """Check what must hold, run `chalice deploy`, and print the URL and curl lines."""
    chosen = stage.load(stage_name)
    show(deployment.preflight(chosen))
    deployment.deploy(chosen)
    origin = chosen.settings.allowed_origin or "of no origin; CORS_ALLOWED_ORIGIN names one"
    click.echo(f"ok  gateway responses: put; pages may read answers: {origin}")
    url = f"{chosen.api_url()}/protected-resource"
    mint = f"$({Path(sys.executable)} manage.py token --stage {stage_name} --role"
    click.echo(f"\nThe API guard answers on {url}\n\nFrom this folder, paste:\n")
    click.echo(minting.curl_lines(url, {"user": f"{mint} user)", "admin": f"{mint} admin)", "spoiled": "spoiled"}))


@cli.command()
@stage_option
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def package(stage_name: str, folder: Path) -> None:
    """Write a SAM template and the functions' package into FOLDER, to deploy with CloudFormation."""
    chosen = stage.load(stage_name)
    show(deployment.check(chosen))
    deployment.package(chosen, folder)
    stack = f"{chosen.config.app_name}-{stage_name}"
    click.echo(
        f"\nPaste, with a bucket of yours:\n\n"
        f"aws cloudformation package --template-file {folder}/sam.json --s3-bucket BUCKET --use-json"
        f" --output-template-file {folder}/packaged.json\n"
        f"aws cloudformation deploy --template-file {folder}/packaged.json --stack-name {stack}"
        " --capabilities CAPABILITY_IAM"
    )


if __name__ == "__main__":
    try:
        cli()
    except (settings.SettingsError, keys.KeysUnavailable) as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(Fault.exit_code)
