"""What each contender would upload to Lambda, made as its author would make it, and unzipped again."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from bench.tables import Table
from operations import bytecode
from tests.support.project import PROJECT, copy_project

PEERS = Path(__file__).parent / "peers"
POWERTOOLS = "aws-lambda-powertools==3.37.0"


@dataclass(frozen=True)
class Artifact:
    """An unzipped deployment package. `handler` is Lambda's `_HANDLER`; `variables` are set beside the usual ones."""

    name: str
    folder: Path
    handler: str
    zip_bytes: int
    node: bool = False
    variables: tuple[tuple[str, str], ...] = ()


#: An app with a route for each row of its table, whatever that is.
APP = """\
from chalice.app import Chalice

from chalicelib.guard import Guard
from chalicelib.rules import RULES

app = Chalice(app_name="fixture")
guard = Guard(app, RULES)
rotate_secret = guard.rotation()


@app.authorizer(ttl_seconds=300)
def jwt_authorizer(request):
    return guard.authorize(request)


def view(**_):
    return {}


for method, path in RULES:
    app.route(path, methods=[method])(view)
guard.protect(jwt_authorizer)
"""


def ours(work: Path, environment: dict[str, str], name: str = "service", table: Table | None = None) -> Artifact:
    """Return the engine's own service as it is, or with another table and a route for each row."""
    folder = work / name.replace(" ", "-")
    project = copy_project(folder.with_name(f"{folder.name}-project"))
    if table is not None:
        (project / "chalicelib" / "rules.py").write_text(f"RULES = {table!r}\n")
        (project / "app.py").write_text(APP)
    bytecode.write(project)  # as `manage.py deploy` and `manage.py package` do
    return _chalice(name, project, folder, environment)


def naive_chalice(work: Path, environment: dict[str, str]) -> Artifact:
    project = Path(shutil.copytree(PEERS / "naive_chalice", work / "naive-project"))
    shutil.copy(PROJECT / "requirements.txt", project)
    return _chalice("naive Chalice", project, work / "naive", environment)


def python_peer(name: str, module: str, work: Path, *packages: str) -> Artifact:
    """Return one module and the packages that it needs beside what Lambda has."""
    folder = work / module
    folder.mkdir()
    if packages:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
        run([*pip, "--target", str(folder), *packages])
    shutil.copy(PEERS / f"{module}.py", folder / "function.py")
    return Artifact(name, folder, "function.handler", _zipped(folder))


def node_peers(work: Path) -> list[Artifact]:
    """Return the tutorial's code as written and with the secret kept. Lambda's Node runtime brings the AWS SDK."""
    around = Path(shutil.copytree(PEERS / "node", work / "node"))
    run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"], around)
    folder = around / "function"
    (folder / "node_modules").mkdir(parents=True)
    shutil.move(around / "tutorial.mjs", folder / "tutorial.mjs")
    shutil.copy(around / "package.json", folder)
    needed = ["jsonwebtoken"]
    for package in needed:  # with what it needs itself
        source = around / "node_modules" / package
        if source.is_dir() and not (folder / "node_modules" / package).exists():
            shutil.copytree(source, folder / "node_modules" / package)
            listed = re.search(r'"dependencies":\s*\{(.*?)\}', (source / "package.json").read_text(), re.DOTALL)
            needed += re.findall(r'"([^"]+)"\s*:', listed[1]) if listed else []
    size = _zipped(folder)
    kept = (("KEEP_SECRET", "1"),)
    return [
        Artifact("tutorial (Node)", folder, "tutorial.handler", size, node=True),
        Artifact("tutorial, secret kept (Node)", folder, "tutorial.handler", size, node=True, variables=kept),
    ]


def run(command: list[str], folder: Path | None = None, environment: dict[str, str] | None = None) -> None:
    """Run a command that has nothing to say; what it said where it failed."""
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:4])} ... failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def _chalice(name: str, project: Path, folder: Path, environment: dict[str, str]) -> Artifact:
    out = folder.with_name(f"{folder.name}-package")
    variables = {**environment, "PYTHONDONTWRITEBYTECODE": "1"}  # as `manage.py` does
    run([str(Path(sys.executable).with_name("chalice")), "package", "--stage", "dev", str(out)], project, variables)
    package = out / "deployment.zip"
    with zipfile.ZipFile(package) as archive:
        archive.extractall(folder)
    return Artifact(name, folder, "app.jwt_authorizer", package.stat().st_size)


def _zipped(folder: Path) -> int:
    shutil.make_archive(str(folder), "zip", folder)
    return folder.with_name(f"{folder.name}.zip").stat().st_size
