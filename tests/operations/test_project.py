"""A project's table and app: where they disagree, and what is wrong with them, in sentences."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from operations.fault import Fault
from operations.project import Project, for_stage
from tests.support.project import SERVICE, change, project_of

RULES, APP = "chalicelib/rules.py", "app.py"


def test_a_good_service_has_no_fault(project: Project) -> None:
    assert project.faults() == []
    assert project.declared()["GET", "/reports/{report_id}"] is True  # of a Blueprint
    assert project.declared()["GET", "/health"] is False


@pytest.mark.parametrize(
    ("file", "old", "new", "sentence"),
    [
        (RULES, '("POST", "/items")', '("PUT", "/items")', "PUT /items is in the table but app.py has no such route."),
        (
            RULES,
            '    ("POST", "/items"): WRITERS,\n',
            "",
            "POST /items is in app.py but in no row of the table, so it is closed.",
        ),
        (
            APP,
            '@app.route("/health", methods=["GET"])',
            '@app.route("/health", methods=["GET"], authorizer=jwt_authorizer)',
            "GET /health is PUBLIC in the table but app.py guards it: take authorizer= out, or name roles.",
        ),
        (
            APP,
            "app.register_blueprint(reports)\nguard.protect(jwt_authorizer)",
            "guard.protect(jwt_authorizer)\napp.register_blueprint(reports)",
            "GET /reports/{report_id} needs a token but app.py does not guard it with jwt_authorizer: take any other"
            " authorizer= out, and call guard.protect(jwt_authorizer) last.",
        ),
        (
            APP,
            '@app.route("/items", methods=["POST"])',
            '@app.route("/items", methods=["POST"], authorizer=__import__("chalice").IAMAuthorizer())',
            "POST /items needs a token but app.py does not guard it with jwt_authorizer: take any other"
            " authorizer= out, and call guard.protect(jwt_authorizer) last.",
        ),
    ],
)
def test_a_disagreement_of_table_and_app_is_a_sentence(
    project_copy: Path, file: str, old: str, new: str, sentence: str
) -> None:
    change(project_copy / file, old, new)
    assert sentence in project_of(project_copy).faults()


@pytest.mark.parametrize(
    ("file", "text", "named"),
    [
        (APP, "def x(:\n", r"app\.py cannot be imported: app\.py, line 1: SyntaxError"),
        (APP, "import nothing_of_that_name\n", r"app\.py, line 1: ModuleNotFoundError: No module named 'nothing"),
        (APP, "\n\nraise RuntimeError('one\\ntwo')\n", r"app\.py, line 3: RuntimeError: one two"),
        ("chalicelib/reports.py", "1 / 0\n", r"chalicelib/reports\.py, line 1: ZeroDivisionError"),
    ],
)
def test_what_is_wrong_with_app_py_is_one_sentence_with_its_place(
    project_copy: Path, file: str, text: str, named: str
) -> None:
    (project_copy / file).write_text(text)
    with pytest.raises(Fault, match=named) as refused:
        project_of(project_copy).faults()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("part", "name"), [("app", "app"), ("authorizer", "jwt_authorizer"), ("table", "RULES")])
def test_a_name_that_is_not_there_is_a_sentence(part: str, name: str) -> None:
    with pytest.raises(Fault, match=f"has no {name}"):
        getattr(Project(SERVICE, lambda _: SimpleNamespace()), part)


def test_an_unsound_table_is_the_tables_own_sentence(project_copy: Path) -> None:
    change(project_copy / RULES, '"support"', '"sup port"')
    for part in ("table", "app"):
        with pytest.raises(Fault, match="names the role 'sup port'"):
            getattr(project_of(project_copy), part)


def test_app_py_is_imported_with_the_stages_variables_alone(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_ROTATION_DAYS", "30")
    monkeypatch.setenv("CORS_ALLOWED_ORIGIN", "https://shell.example")
    before = dict(os.environ)
    without, with_it = project.for_stage({}), project.for_stage({"JWT_ROTATION_DAYS": "7"})
    assert [[f.name for f in p.app.pure_lambda_functions] for p in (without, with_it)] == [[], ["rotate_secret"]]
    assert without.app.api.cors is False
    assert dict(os.environ) == before


def test_a_stages_environment_keeps_what_is_not_a_setting_of_the_guard() -> None:
    shell = {"PATH": "/bin", "AWS_PROFILE": "x", "JWT_ISSUER": "shell", "AUTHORIZER_SECRET": "s"}
    assert for_stage(shell, {"JWT_AUDIENCE": "us"}) == {"PATH": "/bin", "AWS_PROFILE": "x", "JWT_AUDIENCE": "us"}


def test_examples_are_read_from_the_project_and_need_not_be_there(project_copy: Path) -> None:
    project = project_of(project_copy)
    assert project.examples()["POST", "/items"].body == {"key": "value"}
    (project_copy / ".chalice" / "examples.json").write_text('{"GET /x": {}}')
    with pytest.raises(Fault, match="no row of the table"):
        project.examples()
    (project_copy / ".chalice" / "examples.json").unlink()
    assert project.examples() == {}
