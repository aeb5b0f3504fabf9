"""The page at `/` and its files, as the service serves them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.api.app import create_app
from service.dashboard.page import STATIC
from service.settings import Settings

FILES = sorted(path.name for path in STATIC.iterdir())
NAMESPACES = {"http://www.w3.org/2000/svg"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    app = create_app(Settings(home=tmp_path_factory.mktemp("home")))
    with TestClient(app, base_url="http://localhost") as client:
        yield client


def test_the_page_is_served(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert '<html lang="en">' in page.text


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_served_with_its_type_and_the_policy(client: TestClient, name: str) -> None:
    types = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    answer = client.get(f"/static/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(types.get(Path(name).suffix, "text/html"))
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_plotly_comes_from_the_service(client: TestClient) -> None:
    (path,) = re.findall(r'<meta name="plotly" content="([^"]+)"', client.get("/").text)
    answer = client.get(path)
    assert answer.status_code == 200
    assert "plotly.js" in answer.text[:200]
    assert "License" in answer.text[:600]
    assert answer.headers["content-encoding"] == "gzip"
    assert "immutable" in answer.headers["cache-control"]
    plain = client.get(path, headers={"accept-encoding": "identity"})
    assert plain.text == answer.text
    assert "content-encoding" not in plain.headers


def test_the_policy_lets_nothing_in_from_elsewhere_and_nothing_inline(client: TestClient) -> None:
    headers = client.get("/").headers
    policy = dict(
        part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("name", FILES)
def test_no_file_names_another_host(name: str) -> None:
    text = (STATIC / name).read_text()
    assert set(re.findall(r"https?://[^\s\"'`<>)$]+", text)) <= NAMESPACES
    assert not re.search(r"""(?:src|href|import|from|url\()\s*=?\s*["'(]?//""", text)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith((".js", ".html"))])
def test_no_script_makes_markup_of_text(name: str) -> None:
    text = (STATIC / name).read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", text)
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", text)


def test_every_file_that_another_names_is_there() -> None:
    named = {
        match
        for name in FILES
        for match in re.findall(r"(?:/static/|from \"\./)([\w.-]+)", (STATIC / name).read_text())
    }
    assert named <= set(FILES)


def test_every_module_is_loaded_ahead() -> None:
    page = (STATIC / "index.html").read_text()
    ahead = set(re.findall(r'rel="modulepreload" href="/static/([\w.-]+)"', page))
    assert ahead | {"app.js"} == {name for name in FILES if name.endswith(".js")}


@pytest.mark.parametrize("path", ["/static/", "/static/nothing.js", "/static/..%2fpage.py"])
def test_what_is_no_file_of_the_page_is_not_found(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404
