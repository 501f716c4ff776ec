"""Ended sessions: the list that a stage's authorizer reads beside its keys, in a secret of its own."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.guard.keys.source import Revocations, parse
from operations.fault import Fault
from operations.project import AUTHORIZER
from operations.stage import Stage, aws_errors

SETTING = "JWT_REVOCATIONS_SECRET_ID"
#: What Secrets Manager takes for a value.
MAX_BYTES = 65536
#: The label of a version that is not current yet. Always the same one, so that an interrupted write leaves one at most.
LABEL = "WRITING"
ATTEMPTS = 10
#: An entry is kept for so much longer than it is needed, in seconds: clocks differ.
MARGIN = 3600
#: API Gateway's own, where app.py says nothing of it, in seconds.
ANSWER_TTL = 300


class Unread(Fault):
    """The authorizer that is deployed reads no list, or another one."""


def text(revoked: Revocations) -> str:
    """Return the list as the authorizer's `parse` reads it."""
    members = {"everyone": revoked.everyone, "subjects": dict(sorted(revoked.subjects.items()))}
    return json.dumps(members, ensure_ascii=False, separators=(",", ":"))


EMPTY = text(Revocations())


def end(stage: Stage, subjects: Sequence[str], *, everyone: bool, until: int, now: float) -> Revocations:
    """Refuse the tokens of these subjects, or of everyone, that were issued up to `until`; return the list.

    What is refused already stays refused. Unix seconds; Fault where it cannot be written.
    """
    longest = _longest(stage)
    if longest is not None and until + longest <= now:
        raise Fault("Tokens that were issued up to then have all expired, by JWT_MAX_LIFETIME_SECONDS: nothing to do.")

    def change(revoked: Revocations) -> Revocations:
        ended = {subject: max(until, int(revoked.subjects.get(subject, -1))) for subject in subjects}
        of_all = max(until, int(revoked.everyone)) if everyone else revoked.everyone
        return Revocations(of_all, {**revoked.subjects, **ended})

    return _write(stage, change, now)


def forget(stage: Stage, subjects: Sequence[str], *, everyone: bool, now: float) -> Revocations:
    """Take these subjects off the list, or what is said of everyone; return the list. Fault for who is not on it."""

    def change(revoked: Revocations) -> Revocations:
        absent = [subject for subject in subjects if subject not in revoked.subjects]
        if absent or (everyone and revoked.everyone < 0):
            who = ", ".join(map(repr, absent)) or "Everyone"
            raise Fault(f"{who}: not on the list, which is as it was. See manage.py revoke --stage {stage.name} --list")
        left = {subject: until for subject, until in revoked.subjects.items() if subject not in subjects}
        return Revocations(-1 if everyone else revoked.everyone, left)

    return _write(stage, change, now)


def current(stage: Stage) -> Revocations:
    """Return the list as it is; Fault where there is none."""
    secret_id = _secret_id(stage)
    with aws_errors():
        client = stage.client("secretsmanager")
        try:
            answer = client.get_secret_value(SecretId=secret_id, VersionStage="AWSCURRENT")
        except client.exceptions.ResourceNotFoundException:
            raise Fault(
                f"There is no list yet: manage.py secret create --stage {stage.name} makes the secret {secret_id}."
            ) from None
    return _parsed(answer, secret_id)


def rows(stage: Stage, revoked: Revocations) -> list[list[str]]:
    """Return a header, then a row an entry: whose tokens, issued up to when, and how long the entry is kept."""
    entries = [("(everyone)", revoked.everyone)] if revoked.everyone >= 0 else []
    entries += sorted(revoked.subjects.items())
    return [
        ["Subject", "Issued up to", "Kept until"],
        *([_printable(subject), moment(until), kept_until(stage, until) or "-"] for subject, until in entries),
    ]


def kept_until(stage: Stage, until: float) -> str | None:
    """Return from when on an entry is needed no longer, since each such token has expired; None for never."""
    lasts = _longest(stage)
    return None if lasts is None else moment(until + lasts)


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def spread(stage: Stage, *, ended: bool) -> tuple[list[str], int]:
    """Let the new list hold soon; say what was done, and in how many seconds it holds for every request.

    If nothing was `ended`, no answer that API Gateway keeps is wrong: it keeps no 401. Unread where the deployed
    authorizer reads another list.
    """
    # First new environments, then the cache. The other way round, an environment with the old list could fill the
    # cache again with what it allows, for as long as API Gateway keeps an answer.
    kept, said = _answer_ttl(stage) if ended else 0, []
    ttl, seconds = stage.settings.key_ttl, 0
    try:
        restart(stage)
        said.append("The authorizer runs in new environments, which read the list as it is now.")
    except Unread:
        raise
    except Fault as fault:
        seconds = ttl + kept
        said.append(f"Note: the authorizer may know the list before for {ttl} s. Not started again: {fault.message}")
    if kept:
        try:
            flush(stage)
            said.append("API Gateway keeps no answer from before.")
        except Fault as fault:
            seconds = seconds or kept
            said.append(f"Note: API Gateway may use answers from before for {kept} s. Not emptied: {fault.message}")
    return said, seconds


def restart(stage: Stage) -> None:
    """Give the authorizer new environments, which read the list as they start. Fault where that cannot be done."""
    with aws_errors():
        client, name = stage.client("lambda"), stage.function_name(AUTHORIZER)
        for _ in range(ATTEMPTS):
            had = client.get_function_configuration(FunctionName=name)
            variables = had.get("Environment", {})
            if "Error" in variables:  # without the key that encrypts them we would write none of them back
                raise Fault(f"the variables of {name} cannot be read ({variables['Error'].get('ErrorCode')}).")
            given = variables.get("Variables", {})
            if given.get(SETTING) != stage.settings.revocations_secret_id:
                raise Unread(
                    f"The list is written, but the deployed authorizer does not read it ({SETTING}): run manage.py"
                    f" deploy --stage {stage.name}."
                )
            # Nobody reads the variable: that a configuration changes is what ends environments. Lambda refuses it
            # where somebody else has changed the function since it was read.
            try:
                client.update_function_configuration(
                    FunctionName=name,
                    Environment={"Variables": {**given, "RESTARTED_AT": f"{time.time():.6f}"}},
                    RevisionId=had["RevisionId"],
                )
            except (client.exceptions.PreconditionFailedException, client.exceptions.ResourceConflictException):
                _wait_for(client, name)
                continue
            # Until then Lambda keeps the old environments.
            _wait_for(client, name)
            return
    raise Fault(f"others change {name} at this moment.")


def flush(stage: Stage) -> None:
    """Empty API Gateway's cache of the authorizer's answers; Fault where that cannot be done."""
    where = {"restApiId": stage.api_id(), "stageName": stage.config.api_gateway_stage}
    with aws_errors():
        stage.client("apigateway").flush_stage_authorizers_cache(**where)


def _wait_for(client: Any, function: str) -> None:
    waits = {"Delay": 1, "MaxAttempts": 60}
    client.get_waiter("function_updated_v2").wait(FunctionName=function, WaiterConfig=waits)


def _answer_ttl(stage: Stage) -> int:
    ttl = stage.project.authorizer.config.ttl_seconds
    return ANSWER_TTL if ttl is None else int(ttl)


def _secret_id(stage: Stage) -> str:
    secret_id = stage.settings.revocations_secret_id
    if secret_id is None:
        name = f"{stage.config.app_name}-revocations-{stage.name}"
        raise Fault(
            f'Stage {stage.name} has no list of ended sessions: add "{SETTING}": "{name}" to its environment_variables'
            f" in .chalice/config.json and arn:*:secretsmanager:*:*:secret:{name}-?????? beside the other secret in"
            f" .chalice/{stage.policy_file(AUTHORIZER)}, then run manage.py secret create and deploy."
        )
    return secret_id


def _parsed(answer: dict[str, Any], secret_id: str) -> Revocations:
    try:
        return parse(answer.get("SecretString", ""))
    except (ValueError, KeyError, RecursionError):
        raise Fault(
            f"The secret {secret_id} is no list of ended sessions and was left as it is: name another one with"
            f" {SETTING}."
        ) from None


def _longest(stage: Stage) -> int | None:
    """Return for how long an entry is needed. Without a bound on a token's lifetime nobody knows."""
    rules = stage.settings
    return None if rules.max_lifetime is None else rules.max_lifetime + rules.leeway + MARGIN


def _pruned(revoked: Revocations, longest: int | None, now: float) -> Revocations:
    """Leave out what refuses no token that would be valid without it."""
    expired = -1 if longest is None else now - longest
    everyone = revoked.everyone if revoked.everyone > expired else -1
    least = max(expired, everyone)
    return Revocations(everyone, {subject: until for subject, until in revoked.subjects.items() if until > least})


def _write(stage: Stage, change: Callable[[Revocations], Revocations], now: float) -> Revocations:
    """Change the list that is current. Where another operator's list has come in between, change theirs.

    UpdateSecretVersionStage moves AWSCURRENT only away from the version that it is given, which makes it the one step
    that can be refused: PutSecretValue would move the label away from whatever version has it.
    """
    secret_id = _secret_id(stage)
    with aws_errors():
        client = stage.client("secretsmanager")
        for attempt in range(ATTEMPTS):
            try:
                read = client.get_secret_value(SecretId=secret_id, VersionStage="AWSCURRENT")
            except client.exceptions.ResourceNotFoundException:
                if _create(client, stage, changed := _checked(change(Revocations()), stage, now)):
                    return changed
                continue
            changed = _checked(change(_parsed(read, secret_id)), stage, now)
            written = str(uuid.uuid4())
            client.put_secret_value(
                SecretId=secret_id, ClientRequestToken=written, SecretString=text(changed), VersionStages=[LABEL]
            )
            try:
                client.update_secret_version_stage(
                    SecretId=secret_id,
                    VersionStage="AWSCURRENT",
                    MoveToVersionId=written,
                    RemoveFromVersionId=read["VersionId"],
                )
            except ClientError:
                found = client.get_secret_value(SecretId=secret_id, VersionStage="AWSCURRENT")["VersionId"]
                if found == read["VersionId"]:
                    raise  # nobody was quicker: it is refused for another reason
                if found != written:  # else the answer to a first try was lost
                    time.sleep(random.SystemRandom().uniform(0, 0.05 * (attempt + 1)))  # so that two do not meet again
                    continue
            return changed
    raise Fault(f"Others write the secret {secret_id} at this moment, or it has no current version: try again.")


def _checked(revoked: Revocations, stage: Stage, now: float) -> Revocations:
    pruned = _pruned(revoked, _longest(stage), now)
    size = len(text(pruned).encode())
    if size > MAX_BYTES:
        bound = "" if _longest(stage) is not None else ", or set JWT_MAX_LIFETIME_SECONDS, by which entries end"
        raise Fault(
            f"The list is full: {len(pruned.subjects)} subjects would take {size} of {MAX_BYTES} bytes. --forget"
            f" those whose tokens have expired{bound}; or end the sessions of --everyone, which takes one entry."
        )
    return pruned


def _create(client: Any, stage: Stage, revoked: Revocations) -> bool:
    """Make the secret; return whether it was not there."""
    name = _secret_id(stage)
    if name.startswith("arn:"):
        raise Fault(f"{SETTING} of stage {stage.name} is an ARN of no secret: name it by its name to create it here.")
    try:
        client.create_secret(Name=name, SecretString=text(revoked), Description=f"Ended sessions, stage {stage.name}")
    except client.exceptions.ResourceExistsException:
        return False
    return True


def _printable(subject: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in subject)
