"""The console's files, as they are served."""

import re
from pathlib import Path

import pytest
from api_client import api_settings, opened

import reelgate_api.console
from reelgate_api.app import create_app
from reelgate_api.settings import Settings

STATIC = Path(reelgate_api.console.__file__).with_name("static")
FILES = sorted(path.name for path in STATIC.iterdir())


@pytest.fixture
async def client(database_url, broker):
    settings = api_settings(database_url, broker, kie_ai_api_endpoint="https://api.kie.ai")
    async with opened(settings) as client:
        yield client


async def test_browsers_are_sent_from_the_root_to_the_console(client):
    browser = await client.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    program = await client.get("/", headers={"Accept": "application/json"})

    assert (browser.status_code, browser.headers["Location"]) == (307, "/console")
    assert (program.status_code, program.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["/console", "/console/main.js", "/console/console.css"])
async def test_a_browser_may_do_only_what_the_console_needs(client, path):
    headers = (await client.get(path)).headers

    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self' blob: https:",
        "media-src": "'self' https:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


async def test_what_a_browser_has_is_not_sent_again(client):
    first = await client.get("/console/main.js")

    again = await client.get("/console/main.js", headers={"If-None-Match": f'"other", {first.headers["ETag"]}'})
    changed = await client.get("/console/main.js", headers={"If-None-Match": '"other"'})

    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert (changed.status_code, first.headers["Cache-Control"]) == (200, "no-cache")


@pytest.mark.parametrize("name", ["no.js", "..%2froutes.py", "%2e%2e/routes.py", "index.html/x", "index"])
async def test_nothing_else_is_served(client, name):
    assert (await client.get(f"/console/{name}")).status_code == 404


async def test_every_file_is_served_as_what_it_is(client):
    types = {name: (await client.get(f"/console/{name}")).headers["Content-Type"] for name in FILES}

    assert {Path(name).suffix: kind.split(";")[0] for name, kind in types.items()} == {
        ".html": "text/html",
        ".css": "text/css",
        ".js": "text/javascript",
        ".svg": "image/svg+xml",
    }


@pytest.mark.parametrize("name", FILES)
def test_nothing_comes_from_elsewhere_and_nothing_is_read_as_html(name):
    text = (STATIC / name).read_text(encoding="utf-8")

    hosts = set(re.findall(r"https?://([\w.-]+)", text))
    assert hosts <= {"www.w3.org"}  # the name of SVG
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text)
    assert not re.search(r"<script(?! type=\"module\" src=)|<style|\bstyle=|\son\w+=\"", text)


def test_every_module_that_is_named_is_there():
    named = {
        found
        for path in STATIC.iterdir()
        for found in re.findall(r'from "\./([\w.]+)"', path.read_text(encoding="utf-8"))
    }

    assert named | {"main.js"} == {name for name in FILES if name.endswith(".js")}


def test_the_console_is_no_part_of_the_interface():
    document = create_app(Settings.model_construct(public_base_url="https://gateway.example")).openapi()

    assert not [path for path in document["paths"] if "console" in path or path == "/"]
