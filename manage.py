"""The operator's command line. Not shipped to Lambda."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from chalicelib import rules
from chalicelib.guard import settings
from chalicelib.guard.keys import cache as keys
from operations import access_page, deployment, matrix, minting, secret, smoke, stage
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


@cli.command(
    epilog="Exit status: 0 the request is allowed, 1 it is refused, 2 it could not be told (a wrong word, no key).",
    context_settings={"allow_extra_args": True},  # click would repeat them
)
@click.pass_context
@click.argument("credential", metavar="TOKEN")
@click.argument("method")
@click.argument("path")
@click.option("--stage", "stage_name", help="Judge with this stage's settings and secret; else with this machine's.")
def why(ctx: click.Context, credential: str, method: str, path: str, stage_name: str | None) -> None:
    """Say how a request is answered and why: each step of both locks, and the mend.

    TOKEN is - to read it from standard input, so that it stays out of the shell's history; else the token, with
    or without Bearer in front ("Bearer eyJ..." in quotes); "" for a request without one. PATH comes after the
    stage: /protected-resource.

    It is the token's bearer who looks, so issuer, audience and dates are shown. The token, its signature, the secret
    and other claims' values are not.
    """
    from operations import walk, why  # rich, app.py: for this command alone

    # What was typed is not repeated: in the wrong place it may be the token.
    if ctx.args or method.upper() not in rules.METHODS:
        raise Fault(
            "Write TOKEN METHOD PATH: METHOD is one of"
            f' {", ".join(rules.METHODS)}; "Bearer ..." goes into quotes, as one word.'
        )
    if not path.startswith("/"):
        raise Fault("PATH must begin with a slash; it is what follows the stage in the URL: /protected-resource.")
    given = standard_input() if credential == "-" else credential
    explanation = why.explain(given.strip(), method.upper(), path.partition("?")[0], why.judge(stage_name), time.time())
    walk.show(explanation)
    sys.exit(0 if explanation.status == 200 else 1)


def standard_input() -> str:
    """Return a token from standard input; at a terminal it is asked for, and not shown."""
    if sys.stdin.isatty():
        return str(click.prompt("Token", hide_input=True, err=True))
    text = sys.stdin.buffer.read(1_000_000).decode(errors="replace")
    if not text.strip():
        raise Fault("There is no token on standard input.")
    return text


@cli.command("rules")
@click.option("--markdown", is_flag=True, help="Print a Markdown table.")
@click.option(
    "--html",
    "html_file",
    is_flag=False,
    flag_value="-",
    metavar="[FILE]",
    help="Write a page of HTML for an auditor to FILE, or print it.",
)
def show_rules(*, markdown: bool, html_file: str | None) -> None:
    """Print who may call what, and what is wrong with the table."""
    cells, wrong = matrix.cells(), matrix.faults()
    if html_file is not None:
        page = access_page.page(matrix.app_name(), cells, wrong, access_page.revision(), datetime.now(UTC))
        try:
            click.echo(page, nl=False) if html_file == "-" else Path(html_file).write_text(page, encoding="utf-8")
        except OSError as error:
            raise Fault(f"{html_file} cannot be written: {error.strerror}.") from None
    else:
        click.echo((matrix.as_markdown if markdown else matrix.as_text)(cells))
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
            f" with its version as kid; authorizers know it within {ttl} s, or when they meet it, unless"
            " they looked for a new key within the last 30 s."
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


@cli.command(
    "smoke", epilog="Exit status: 0 every row holds, 1 one does not, 2 there was nothing to ask or to ask with."
)
@stage_option
def smoke_test(stage_name: str) -> None:
    """Make the tutorial's requests to a deployed stage, with tokens minted for it, and hold it to the answers.

    Where tokens come from an identity provider, USER_TOKEN and ADMIN_TOKEN in the environment must hold one of each.
    """
    chosen = stage.load(stage_name)
    url = f"{chosen.api_url()}/protected-resource"
    if chosen.settings.jwks_url is None:
        key, kid = secret.signing_key(chosen)
        user, admin = (minting.mint(chosen.settings, key, role, [role], 300, {}, kid) for role in ("user", "admin"))
    else:
        user, admin = (os.environ.get(name, "").strip() for name in ("USER_TOKEN", "ADMIN_TOKEN"))
        if not (user and admin):
            raise Fault(
                f"Tokens of stage {stage_name} come from {chosen.settings.requirements.issuer}: get one of a user and"
                " one of an admin, and put them into the environment variables USER_TOKEN and ADMIN_TOKEN."
            )
    tokens = {"user": user, "admin": admin, "spoiled": minting.spoiled(user)}
    click.echo(f"{url}\n\n{smoke.HEADER}", nl=False)
    right = 0
    for row in smoke.rows(url, tokens):
        click.echo(smoke.line(row))
        right += row.right
    if right < len(minting.TUTORIAL):
        click.echo(
            f"\nOnly {right} of {len(minting.TUTORIAL)} hold. docs/operating.md: what the decision log's reasons mean."
        )
        sys.exit(1)
    click.echo(f"\nAll {right} hold.")


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
