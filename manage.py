"""The operator's command line. Not shipped to Lambda."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import jwt

from chalicelib import keys, rules, settings

PROJECT = Path(__file__).parent
LOCAL_SECRET = PROJECT / ".chalice" / "local-secret"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Fault(click.ClickException):
    """What the operator can mend, in one sentence."""

    exit_code = 2


class Seconds(click.ParamType[int]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"(\d{1,6})([smhd])", str(value))
        if match is None:
            self.fail(f"{value!r} is no duration: write a number and s, m, h or d, like 1h", param, ctx)
        return int(match[1]) * UNITS[match[2]]


def parse_claim(_ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]) -> dict[str, Any]:
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


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Run the API guard on this machine and look at what it does."""


@cli.command()
@click.option("--sub", "subject", default="alice", show_default=True, help="The subject: who calls.")
@click.option("--role", "roles", multiple=True, help="A role of the caller; may be given more than once.")
@click.option("--ttl", type=Seconds(), default="1h", show_default=True, help="How long the token lives.")
@click.option(
    "--claim",
    "claims",
    multiple=True,
    callback=parse_claim,
    metavar="NAME=VALUE",
    help="Another claim, or another value for one; the value is JSON or else text.",
)
def token(subject: str, roles: tuple[str, ...], ttl: int, claims: dict[str, Any]) -> None:
    """Print a token for development, signed with AUTHORIZER_SECRET or this machine's local secret."""
    for role in sorted(set(roles) - rules.ROLES):
        click.echo(f"Note: the table does not know the role {role!r}, so it grants nothing.", err=True)
    click.echo(mint(local_secret(create=False), subject, roles, ttl, claims))


@cli.command("rules")
@click.option("--markdown", is_flag=True, help="Print a Markdown table.")
def show_rules(*, markdown: bool) -> None:
    """Print who may call what, and what is wrong with the table."""
    header, *rows = rules_matrix()
    if markdown:
        rows.insert(0, ["---"] * len(header))
        click.echo("\n".join("| " + " | ".join(row) + " |" for row in [header, *rows]))
    else:
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        for row in [header, *rows]:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            click.echo("  ".join(cells).rstrip())
    faults = rules.faults(declared_routes())
    if faults:
        raise Fault("\n".join(faults))


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
    secret = local_secret(create=True)
    user, admin = (mint(secret, name, [name], 3600, {}) for name in ("user", "admin"))
    url = f"http://127.0.0.1:{port}"
    click.echo(f"The API guard on {url}\n\nTwo tokens, good for an hour:\n")
    click.echo(f"user:  {user}\n\nadmin: {admin}\n\nPaste any of these into another terminal:\n")
    click.echo(curl_lines(f"{url}/protected-resource", user, admin))
    click.echo("Ctrl-C stops it. Below, a line for each decision.")
    sys.stdout.flush()
    os.chdir(PROJECT)
    # In this process's place, so that Ctrl-C reaches `chalice local` alone.
    chalice = str(Path(sys.executable).with_name("chalice"))
    command = [chalice, "local", "--stage", "local", "--port", str(port)]
    environment = {**os.environ, "AUTHORIZER_SECRET": secret, "PYTHONUNBUFFERED": "1"}
    os.execve(chalice, command, environment)  # noqa: S606  # no shell is wanted


def mint(secret: str, subject: str, roles: Sequence[str], ttl: int, claims: Mapping[str, Any]) -> str:
    """Return a token; `ttl` in seconds. Algorithm, issuer, audience and roles claim follow the settings."""
    wanted = settings.current().requirements
    now = int(time.time())
    made = {"sub": subject, wanted.roles_claim: list(roles), "iat": now, "exp": now + ttl}
    if wanted.issuer is not None:
        made["iss"] = wanted.issuer
    if wanted.audience is not None:
        made["aud"] = wanted.audience
    return jwt.encode({**made, **claims}, secret, algorithm=wanted.algorithms[0])


def local_secret(*, create: bool) -> str:
    """Return `AUTHORIZER_SECRET`, or this machine's own secret, made on demand for its owner's eyes alone."""
    secret = settings.current().local_secret
    if secret is None:
        if create and not LOCAL_SECRET.exists():
            descriptor = os.open(LOCAL_SECRET, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(64))
        try:
            secret = LOCAL_SECRET.read_text()
        except FileNotFoundError:
            raise Fault(
                "There is no secret on this machine yet: run make local once, or set AUTHORIZER_SECRET."
            ) from None
    keys.LocalSecret(secret, settings.current().requirements.algorithms)  # is it strong enough?
    return secret


def curl_lines(url: str, user: str, admin: str) -> str:
    """Return the tutorial's requests as curl lines, each below the status that it gives."""
    signature_spoiled = user[:-4] + ("AAAA" if user[-4:] != "AAAA" else "BBBB")
    requests = (
        ("200", "GET as user", user, False),
        ("403", "POST as user", user, True),
        ("200", "GET as admin", admin, False),
        ("200", "POST as admin", admin, True),
        ("401", "GET without a token", None, False),
        ("401", "GET with a spoiled token", signature_spoiled, False),
    )
    post = """ -X POST -H 'Content-Type: application/json' -d '{"key":"value"}'"""
    return "".join(
        f"# {status}: {what}\ncurl -i"
        + (f" -H 'Authorization: {token}'" if token else "")
        + (post if is_post else "")
        + f" {url}\n\n"
        for status, what, token, is_post in requests
    )


def declared_routes() -> dict[rules.Route, bool]:
    """Return the routes of app.py, and whether `jwt_authorizer` guards each."""
    from app import app  # here, so that a fault in app.py spoils only the commands that need it

    return {
        (method, template): getattr(entry.authorizer, "name", None) == "jwt_authorizer"
        for template, methods in app.routes.items()
        for method, entry in methods.items()
    }


def rules_matrix() -> list[list[str]]:
    """Return the table as rows of cells: a header, then a row a route; a column a role."""
    roles = sorted(rules.ROLES)
    rows = [["Method", "Path", *roles]]
    for (method, template), group in sorted(rules.RULES.items(), key=lambda item: item[0][::-1]):
        cells = ["public" if group == rules.PUBLIC else "yes" if role in group else "-" for role in roles]
        rows.append([method, template, *cells])
    return rows


if __name__ == "__main__":
    try:
        cli()
    except (settings.SettingsError, keys.KeysUnavailable) as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(Fault.exit_code)
