"""`make test-browser`: docs/console.html in headless Chromium, on another origin than the emulated API.

Not a part of `make test`, for it needs Debian's chromium and chromium-driver; so its name is not test_….
"""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.support.deployed import Deployed
from tests.support.embedded_aws import EmbeddedAws
from tests.support.project import PROJECT, copy_project

#: The last two: as root there is no sandbox, and nobody else on this machine is served.
FLAGS = (
    "--headless",
    "--no-first-run",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-component-update",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
    "--no-sandbox",
)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a folder; yield its origin."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with serving(PROJECT / "docs") as origin:
        yield origin


@pytest.fixture(scope="module")
def guard(aws: EmbeddedAws, origin: str, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    project = copy_project(tmp_path_factory.mktemp("browser") / "project")
    file = project / ".chalice" / "config.json"
    config = json.loads(file.read_text())
    config["stages"]["dev"]["environment_variables"]["CORS_ALLOWED_ORIGIN"] = origin
    file.write_text(json.dumps(config))
    deployed = Deployed(aws, project, "dev", "fixture-key-dev")
    deployed.manage("secret", "create", "--stage", "dev")
    deployed.manage("deploy", "--stage", "dev")
    return deployed


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium is not installed"
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    # With both paths given Selenium looks for no driver, and so asks nobody.
    driver = Chrome(options=options, service=ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


Send = Callable[..., tuple[str, str, str]]


@pytest.fixture
def send(chromium: Chrome, guard: Deployed, origin: str) -> Send:
    """Fill the console's form in and send it; return the status, the headers and the body that the page could read."""

    def fill(name: str, text: str) -> None:
        field = chromium.find_element(By.ID, name)
        field.clear()
        field.send_keys(text)

    def request(
        method: str, token: str | None = None, path: str = "/items", page: str = origin, body: str = "{}"
    ) -> tuple[str, str, str]:
        chromium.get(f"{page}/console.html")
        fill("base", guard.aws.api_url(guard.api_id, guard.stage))
        fill("path", path)
        fill("token", token or "")
        fill("body", body)
        Select(chromium.find_element(By.ID, "method")).select_by_visible_text(method)
        chromium.find_element(By.TAG_NAME, "button").click()
        WebDriverWait(chromium, 40).until(
            lambda driver: driver.find_element(By.ID, "status").text.strip() not in {"", "…"}
        )
        status, headers, answer = (chromium.find_element(By.ID, name).text for name in ("status", "headers", "answer"))
        return status, headers, answer

    return request


def test_a_page_can_read_what_a_user_may_and_may_not(send: Send, guard: Deployed) -> None:
    token = guard.token("user")
    status, _, answer = send("GET", token)
    assert (status, json.loads(answer)["roles"]) == ("200", ["user"])
    status, headers, answer = send("POST", token)
    assert (status, json.loads(answer)) == ("403", {"message": "Forbidden"})
    assert 'www-authenticate: Bearer error="insufficient_scope"' in headers


def test_a_page_can_read_what_an_admin_may(send: Send, guard: Deployed) -> None:
    token = guard.token("admin")
    assert send("GET", token)[0] == "200"
    assert send("POST", token, body='{"key":"value"}')[::2] == ("200", '{"key":"value"}')


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("token", [None, "bad", "forged"])
def test_a_page_can_read_that_it_has_no_good_token(send: Send, guard: Deployed, method: str, token: str | None) -> None:
    status, headers, answer = send(method, guard.token("admin", key="x" * 64) if token == "forged" else token)
    assert (status, json.loads(answer)) == ("401", {"message": "Unauthorized"})
    assert 'www-authenticate: Bearer error="invalid_token"' in headers


def test_a_page_can_read_what_is_wrong_with_its_body(send: Send, guard: Deployed) -> None:
    status, _, answer = send("POST", guard.token("admin"), body="not json")
    assert (status, json.loads(answer)["Code"]) == ("400", "BadRequestError")


def test_a_page_can_read_that_a_path_does_not_exist(send: Send) -> None:
    status, _, answer = send("GET", path="/unknown")
    assert (status, json.loads(answer)) == ("404", {"message": "Not Found"})


def test_a_page_can_read_that_the_failure_is_ours(send: Send, guard: Deployed) -> None:
    secrets, token = guard.aws.client("secretsmanager"), guard.token("user")
    secrets.delete_secret(SecretId=guard.secret_id, RecoveryWindowInDays=7)
    try:
        guard.restart("jwt_authorizer")
        status, _, answer = send("GET", token)
    finally:
        secrets.restore_secret(SecretId=guard.secret_id)
        guard.restart("jwt_authorizer")
    assert (status, json.loads(answer)) == ("500", {"message": "Internal Server Error"})
    assert send("GET", token)[0] == "200"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("whose", [None, "bad", "user", "admin"])
def test_a_page_of_another_origin_can_read_nothing(send: Send, guard: Deployed, method: str, whose: str | None) -> None:
    token = guard.token(whose) if whose in {"user", "admin"} else whose
    with serving(PROJECT / "docs") as elsewhere:
        status, headers, answer = send(method, token, page=elsewhere)
    assert (status, headers) == ("Nothing to read", "")
    assert "Failed to fetch" in answer


def test_the_browser_has_nothing_to_say_about_the_page_itself(chromium: Chrome, send: Send, guard: Deployed) -> None:
    chromium.get_log("browser")  # what it said until now
    send("GET", guard.token("user"))
    assert [entry["message"] for entry in chromium.get_log("browser") if "favicon" not in entry["message"]] == []
