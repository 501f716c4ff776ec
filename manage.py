"""The operator's command line. Not shipped to Lambda."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from chalicelib.guard.access import METHODS
from chalicelib.guard.decision import KeysUnavailable
from chalicelib.guard.settings import Settings, SettingsError
from chalicelib.guard.tokens import MAX_SUBJECT_BYTES
from operations import access_page, deployment, matrix, minting, requests, revocation, secret, smoke, stage
from operations.fault import Fault
from operations.project import Project
from operations.requests import Request

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Seconds(click.ParamType[int]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"(\d{1,6})([smhd])", str(value))
        if match is None:
            self.fail(f"{value!r} is no duration: write a number and s, m, h or d, like 1h", param, ctx)
        return int(match[1]) * UNITS[match[2]]


class Moment(click.ParamType[int]):
    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return Unix seconds, rounded up, so that no token of that second is left out."""
        try:
            seconds = float(value) if re.fullmatch(r"\d{1,10}", value) else self._seconds(value)
        except (ValueError, OverflowError):
            seconds = -1
        if not 0 <= seconds <= time.time():
            self.fail(
                f"{value!r} is no time in the past: write it as 2026-11-25T10:00:00Z, or in Unix seconds", param, ctx
            )
        return math.ceil(seconds)

    @staticmethod
    def _seconds(text: str) -> float:
        moment = datetime.fromisoformat(text)
        return moment.timestamp() if moment.tzinfo is not None else -1  # nobody knows whose clock is meant


def parse_subjects(_ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        if re.search(r"eyJ[\w-]+\.[\w-]+\.", text):  # it is not repeated, and never written down
            raise click.BadParameter("that is a token: write its subject, which manage.py why shows")
        if not 0 < len(text.encode(errors="surrogatepass")) <= MAX_SUBJECT_BYTES or not text.isprintable():
            raise click.BadParameter(f"{text[:40]!r} is no subject: printable text of 1 to {MAX_SUBJECT_BYTES} bytes")
    return texts


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


class Commands(click.Group):
    """The commands; what the engine says of a setting or a key is said in one sentence too."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (SettingsError, KeysUnavailable) as error:
            raise Fault(str(error)) from None


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="On this machine: local, then token and why in a second terminal. In your AWS account: secret create,"
    " deploy, smoke. Each command says more with --help; README.md leads through them.",
)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Run the API on this machine, deploy it, and see why it answers as it does."""
    ctx.obj = ctx.obj or Project(Path(__file__).parent)


@cli.command()
@click.option("--sub", "subject", default="alice", show_default=True, help="The subject: who calls.")
@click.option("--role", "roles", multiple=True, help="A role of the caller; give one for each.")
@click.option("--ttl", type=Seconds(), default="1h", show_default=True, help="How long the token lives.")
@click.option(
    "--claim",
    "claims",
    multiple=True,
    callback=parse_claims,
    metavar="NAME=VALUE",
    help="A claim to add or replace; the value is JSON, else text.",
)
@click.option("--stage", "stage_name", help="Sign with this stage's secret in Secrets Manager.")
@click.pass_obj
def token(
    project: Project, subject: str, roles: tuple[str, ...], ttl: int, claims: dict[str, Any], stage_name: str | None
) -> None:
    """Print a token for development.

    It is signed with the stage's secret; without --stage, with AUTHORIZER_SECRET or the secret that `local` makes.
    It has the claims that the settings ask for. With an identity provider there is none: it signs its tokens itself.
    """
    for role in sorted(set(roles) - project.table.roles):
        click.echo(f"Note: the table does not know the role {role!r}, so it grants nothing.", err=True)
    if stage_name is None:
        wanted, kid = stage.local_settings(project), None
        key = minting.local_secret(project, wanted, create=False)
    else:
        chosen = stage.load(project, stage_name)
        wanted = chosen.settings
        key, kid = secret.signing_key(chosen)
    note_lifetime(wanted, ttl)
    click.echo(minting.mint(wanted, key, subject, roles, ttl, claims, kid))


def note_lifetime(wanted: Settings, ttl: int) -> None:
    bound = minting.lifetime(wanted, ttl)
    if bound < ttl:
        click.echo(f"Note: a token lives {bound} s, which is what JWT_MAX_LIFETIME_SECONDS allows.", err=True)


@cli.command(
    epilog="Exit status: 0 if the request is allowed, 1 if it is refused, 2 if that cannot be said.",
    context_settings={"allow_extra_args": True},  # click would repeat them
)
@click.pass_context
@click.argument("credential", metavar="TOKEN")
@click.argument("method")
@click.argument("path")
@click.option("--stage", "stage_name", help="Use this stage's settings and keys; else this machine's.")
def why(ctx: click.Context, credential: str, method: str, path: str, stage_name: str | None) -> None:
    """Say how a request is answered, why, and what to change.

    It shows each step of authorizer and middleware. TOKEN is - to read it from standard input, which keeps it out of
    the shell's history; or the token, with or without Bearer ("Bearer eyJ..." in quotes); or "" for none. PATH is what
    follows the stage in the URL: /orders/7.

    Issuer, audience, subject and dates are shown. The token, its signature, the secret and the values of other claims
    are not.
    """
    from operations import why  # the engine: for this command alone

    # What was typed is not repeated: in the wrong place it may be the token.
    if ctx.args or method.upper() not in METHODS:
        raise Fault(
            f'Write TOKEN METHOD PATH: METHOD is one of {", ".join(METHODS)}; "Bearer ..." goes into quotes, as one'
            " word."
        )
    if not path.startswith("/"):
        raise Fault("PATH must begin with a slash; it is what follows the stage in the URL: /orders/7.")
    given = (standard_input() if credential == "-" else credential).strip()
    case = why.judge(ctx.obj, stage_name)
    explanation = why.explain(given, method.upper(), path.partition("?")[0], ctx.obj, case, time.time())
    click.echo("\n".join(why.show(explanation)))
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
    help="Write a page of HTML to FILE, or print it.",
)
@click.pass_obj
def show_rules(project: Project, *, markdown: bool, html_file: str | None) -> None:
    """Print who may call what, and what is wrong with it.

    Wrong is where the table and app.py disagree: a row without a route, a route without a row, a route that is not
    guarded as its row says. With --html it is a page to hand to an auditor.
    """
    cells, wrong = matrix.cells(project.table), project.faults()
    if html_file is not None:
        revision = access_page.revision(project.folder)
        page = access_page.page(project.app.app_name, cells, wrong, revision, datetime.now(UTC))
        try:
            click.echo(page, nl=False) if html_file == "-" else Path(html_file).write_text(page, encoding="utf-8")
        except OSError as error:
            raise Fault(f"{html_file} cannot be written: {error.strerror}.") from None
    else:
        click.echo((matrix.as_markdown if markdown else matrix.as_text)(cells))
    if wrong:
        raise Fault("\n".join(wrong))


@cli.command()
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="The port to serve at.")
@click.pass_obj
def local(project: Project, port: int) -> None:
    """Serve the API on this machine, with tokens to try it.

    It runs `chalice local` and prints tokens and a curl line for each case of the table. Ctrl-C stops it. Next: change
    a route or a row, and start it again.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise Fault(f"Port {port}: {error.strerror}; choose another with make local PORT=8001.") from None
    project = replace(project, variables=stage.local_environment(project))
    wanted = stage.local_settings(project)
    key = minting.local_secret(project, wanted, create=True)
    name, wrong = project.app.app_name, project.faults()
    made, left_out = requests.plan(project.table, project.examples())
    made = [request for request in made if (request.method, request.template) in project.declared()]
    note_lifetime(wanted, 3600)
    tokens = {
        caller: minting.mint(wanted, key, requests.subject_of(caller), roles_of(caller), 3600, {})
        for caller in requests.callers(made)
    }
    url = f"http://127.0.0.1:{port}"
    click.echo(f"{name} answers on {url}\n")
    click.echo("\n".join(lines_to_paste(url, made, tokens)))
    click.echo("".join(f"Note: {sentence}\n" for sentence in [*wrong, *about_left_out(left_out)]), nl=False)
    click.echo("Ctrl-C stops it. Below, a line for each decision.")
    sys.stdout.flush()
    os.chdir(project.folder)
    # In this process's place, so that Ctrl-C reaches `chalice local` alone.
    chalice = str(Path(sys.executable).with_name("chalice"))
    command = [chalice, "local", "--stage", "local", "--port", str(port)]
    environment = {**os.environ, "AUTHORIZER_SECRET": key, "PYTHONUNBUFFERED": "1"}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"  # `chalice local` starts again for each file that is new
    os.execve(chalice, command, environment)  # noqa: S606  # no shell is wanted


def roles_of(caller: str) -> list[str]:
    return [] if caller == requests.NO_ROLE else [caller]


def lines_to_paste(url: str, made: list[Request], tokens: Mapping[str, str]) -> Iterator[str]:
    """Yield what to paste into a terminal to make these requests; a token may be a `$(command)`."""
    variables = requests.callers(made)
    yield "Paste this block into another terminal:\n"
    yield f"export API={url}"
    yield from (f"export {variable}={tokens[caller]}" for caller, variable in variables.items())
    yield "\nThen any of these. Above each is the status that it must have:\n"
    yield requests.curl_lines(made, variables, {caller: requests.subject_of(caller) for caller in variables})


def about_left_out(left_out: list[Request]) -> Iterator[str]:
    if left_out:
        named = ", ".join(dict.fromkeys(map(str, left_out)))
        yield f"Not tried, since they have an effect: {named}. Give each an example in .chalice/examples.json."


@cli.group("secret")
def secret_group() -> None:
    """Make, show and rotate a stage's secret; never its value."""


@secret_group.command("create")
@stage_option
@click.pass_obj
def create_secret(project: Project, stage_name: str) -> None:
    """Make the stage's secret, of 64 random bytes.

    One that exists is left as it is. If the stage has a list of ended sessions (JWT_REVOCATIONS_SECRET_ID), an empty
    one is made too. Next: deploy.
    """
    made = "".join(f"Made {arn}\n" for arn in secret.create(stage.load(project, stage_name)))
    click.echo(f"{made}Next: manage.py deploy --stage {stage_name}")


@secret_group.command("status")
@stage_option
@click.pass_obj
def secret_status(project: Project, stage_name: str) -> None:
    """Print the secret's versions, labels and ages."""
    click.echo(matrix.as_text(secret.status(stage.load(project, stage_name))))


@secret_group.command("rotate")
@stage_option
@click.option("--token-lifetime", type=Seconds(), help="How long tokens live; else JWT_MAX_LIFETIME_SECONDS, or 1d.")
@click.option("--force", is_flag=True, help="Rotate even if that ends tokens that are valid.")
@click.option("--leaked", is_flag=True, help="Rotate twice, so that no old key is left.")
@click.pass_obj
def rotate_secret(project: Project, stage_name: str, token_lifetime: int | None, *, force: bool, leaked: bool) -> None:
    """Make a new key; the present one still verifies.

    The one before it verifies no more, so it refuses while tokens that are signed with that may be valid. --leaked is
    for a key that others know: all sessions end.
    """
    chosen = stage.load(project, stage_name)
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
            f"Version {version} is the key now. Tokens signed with the one before it are valid as well, until the next"
            f" rotation: not before {safe.isoformat(timespec='seconds')}. From now on sign with the new key, its"
            f" version as kid. Authorizers know it within {ttl} s, or at its first token, unless they"
            " looked for a new key within the last 30 s."
        )


@cli.command(epilog="The list is in the secret that JWT_REVOCATIONS_SECRET_ID names; it holds subjects, never tokens.")
@stage_option
@click.option("--sub", "subjects", multiple=True, callback=parse_subjects, help="Whose; may be given more than once.")
@click.option("--everyone", is_flag=True, help="Everyone's.")
@click.option("--before", "until", type=Moment(), help="Tokens issued up to then, not now: ISO 8601 or Unix seconds.")
@click.option("--list", "show_list", is_flag=True, help="Print whose sessions were ended, and change nothing.")
@click.option(
    "--forget", "forgotten", multiple=True, callback=parse_subjects, metavar="SUB", help="Take a subject off the list."
)
@click.option("--forget-everyone", is_flag=True, help="Take back --everyone.")
@click.pass_obj
def revoke(
    project: Project,
    stage_name: str,
    subjects: tuple[str, ...],
    until: int | None,
    forgotten: tuple[str, ...],
    *,
    everyone: bool,
    show_list: bool,
    forget_everyone: bool,
) -> None:
    """End a user's sessions, or everyone's.

    Tokens that were issued until now are refused, later ones are valid. It holds within seconds: the authorizer starts
    again with the new list, and API Gateway's cache is emptied.
    """
    ends, takes_back = bool(subjects or everyone), bool(forgotten or forget_everyone)
    if [ends, takes_back, show_list].count(True) != 1 or (until is not None and not ends):
        raise Fault("Write --sub SUB or --everyone, with --before TIME or not; or --list; or --forget SUB.")
    chosen, now = stage.load(project, stage_name), time.time()
    if show_list:
        click.echo(matrix.as_text(revocation.rows(chosen, revocation.current(chosen))))
        return
    if takes_back:
        revocation.forget(chosen, forgotten, everyone=forget_everyone, now=now)
        whose = [*map(repr, forgotten), *(["everyone"] if forget_everyone else [])]
        click.echo(f"Taken off the list: {', '.join(whose)}. Tokens that have not expired are valid again.")
    else:
        if until is None:  # the issuer's clock may be ahead by the leeway
            until = math.ceil(now) + chosen.settings.leeway
        revocation.end(chosen, subjects, everyone=everyone, until=until, now=now)
        whose = [*map(repr, subjects), *(["everyone"] if everyone else [])]
        click.echo("\n".join(about_ended(chosen, ", ".join(whose), until)))
    said, seconds = revocation.spread(chosen, ended=ends)
    click.echo("\n".join(said))
    click.echo(f"It holds from {revocation.moment(math.ceil(time.time()) + seconds)} on.")


def about_ended(chosen: stage.Stage, whose: str, until: int) -> Iterator[str]:
    yield f"Tokens of {whose} that were issued up to {revocation.moment(until)} are refused."
    kept = revocation.kept_until(chosen, until)
    if kept is None:
        yield "So is each of their tokens without iat while this is listed: it does not say when it was issued."
        yield "It is listed until --forget takes it off: without JWT_MAX_LIFETIME_SECONDS any token may still be valid."
    else:
        yield f"It is listed until {kept}, when they have all expired."


@cli.command()
@stage_option
@click.pass_obj
def deploy(project: Project, stage_name: str) -> None:
    """Check everything, deploy a stage, print requests to try.

    It names the fix of whatever is wrong before anything is made. Then it runs `chalice deploy`, sets API Gateway's
    own answers, and prints the URL and curl lines to paste. If the stage sets JWT_ROTATION_DAYS, Secrets Manager
    rotates the secret from then on, and no longer once the setting is gone. Next: smoke.
    """
    chosen = stage.load(project, stage_name)
    show(deployment.preflight(chosen))
    made, left_out = requests.plan(project.table, project.examples())
    show(deployment.deploy(chosen))
    click.echo(f"\n{chosen.project.app.app_name} answers on {chosen.api_url()}\n")
    if chosen.settings.jwks_url is None:
        mint = f"$({shlex.quote(sys.executable)} manage.py token --stage {stage_name} --sub"
        tokens = {
            caller: " ".join([mint, requests.subject_of(caller), *(f"--role {role}" for role in roles_of(caller))])
            + ")"
            for caller in requests.callers(made)
        }
        click.echo("From this folder:\n")
    else:
        made = with_known_subjects(made)
        issuer = chosen.settings.issuer
        tokens = dict.fromkeys(requests.callers(made), f"'a token from {issuer}'")
    click.echo("\n".join(lines_to_paste(chosen.api_url(), made, tokens)))
    click.echo("".join(f"Note: {sentence}\n" for sentence in about_left_out(left_out)), nl=False)


def with_known_subjects(made: list[Request]) -> list[Request]:
    """Return the requests that can be written down without a token at hand."""
    return [request for request in made if not request.whose and request.caller != requests.NO_ROLE]


@cli.command("smoke", epilog="Exit status: 0 if every answer is right, 1 if one is not, 2 if nothing could be asked.")
@stage_option
@click.pass_obj
def smoke_test(project: Project, stage_name: str) -> None:
    """Send requests to a deployed stage and check the answers.

    It tries each row of the table, with tokens that it makes. If tokens come from an identity provider, put one for
    each role into the environment: ADMIN_TOKEN for the role admin. A request that has an effect is sent only if
    .chalice/examples.json has an example of it.
    """
    chosen = stage.load(project, stage_name)
    made, left_out = requests.plan(project.table, project.examples())
    url = chosen.api_url()
    if chosen.settings.jwks_url is None:
        key, kid = secret.signing_key(chosen)
        subjects = {caller: requests.subject_of(caller) for caller in requests.callers(made)}
        tokens = {
            caller: minting.mint(chosen.settings, key, subject, roles_of(caller), 300, {}, kid)
            for caller, subject in subjects.items()
        }
    else:
        made, tokens = with_tokens_at_hand(made, chosen)
        subjects = {caller: minting.subject(token) for caller, token in tokens.items()}
    click.echo(f"{url}\n")
    rows: list[smoke.Row] = []
    for line in smoke.lines(smoke.kept(smoke.rows(url, made, tokens, subjects), rows), made):
        click.echo(line)
    right = sum(row.right for row in rows)
    click.echo("".join(f"\nNote: {sentence}" for sentence in about_left_out(left_out)))
    if right < len(made):
        click.echo(f"Only {right} of {len(made)} hold. docs/operating.md: what the decision log's reasons mean.")
        sys.exit(1)
    click.echo(f"All {right} hold.")


def with_tokens_at_hand(made: list[Request], chosen: stage.Stage) -> tuple[list[Request], dict[str, str]]:
    """Return the requests, and tokens for them out of the environment; Fault that names the variables to set.

    A token without any role is a bonus: without one its requests are left out.
    """
    variables = requests.callers(made)
    tokens = {caller: os.environ.get(variable, "").strip() for caller, variable in variables.items()}
    missing = [variables[caller] for caller, token in tokens.items() if not token and caller != requests.NO_ROLE]
    if missing:
        raise Fault(
            f"Tokens of stage {chosen.name} come from {chosen.settings.issuer}: get one for each role, and"
            f" put them into the environment variables {', '.join(sorted(missing))}."
        )
    tokens = {caller: token for caller, token in tokens.items() if token}
    return [request for request in made if request.caller is None or request.caller in tokens], tokens


@cli.command()
@stage_option
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.pass_obj
def package(project: Project, stage_name: str, folder: Path) -> None:
    """Write a template and a package for CloudFormation.

    They go into FOLDER, as sam.json and deployment.zip, and the commands that deploy them are printed.
    """
    chosen = stage.load(project, stage_name)
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
    cli()
