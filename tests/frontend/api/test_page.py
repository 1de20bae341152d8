"""The page's files: what is served, with which headers, and that they ask no other server for anything."""

import re
from importlib import resources

import falcon
import falcon.asgi
import falcon.testing
import pytest

from frontend import page
from frontend.access.authentication import Authentication
from frontend.access.keys import unrestricted
from frontend.access.rules import AccessRules, Asked, judge
from frontend.api.errors import install as install_errors
from frontend.api.ollama.root import Root
from frontend.api.page import PageFiles

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
FILES = page.load()
TEXTS = {name: file.data.decode() for name, file in FILES.items()}
ELSEWHERE = re.compile(r"""(?:https?:|["'(=`])//[\w-]+\.\w+""")


@pytest.fixture(scope="module")
def client():
    app = falcon.asgi.App()
    install_errors(app)
    app.add_route("/", Root(None, FILES[page.INDEX]))
    app.add_route("/page/{name}", PageFiles(FILES))
    return falcon.testing.TestClient(app)


def test_the_table_names_every_file_of_the_folder():
    there = {file.name for file in resources.files(page).iterdir() if file.is_file()}
    assert there == {*page.FILES, "__init__.py"}


@pytest.mark.parametrize("name", page.FILES)
def test_every_file_is_served_with_its_type_and_headers(client, name):
    answer = client.simulate_get(f"/page/{name}")
    assert (answer.status_code, answer.content) == (200, FILES[name].data)
    kind = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    assert answer.headers["content-type"].startswith(kind[name.rpartition(".")[2]])
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


def test_browsers_get_the_page_and_others_a_text(client):
    page_at_root = client.simulate_get("/", headers=HTML)
    assert page_at_root.content == FILES[page.INDEX].data
    assert page_at_root.headers["content-security-policy"]
    assert client.simulate_head("/", headers=HTML).headers["content-type"].startswith("text/html")
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
        answer = client.simulate_get("/", headers=headers)
        assert answer.text == "Ollama is running"
        assert answer.headers["vary"] == "Accept"


def test_a_browser_that_has_a_file_gets_no_second_copy(client):
    etag = client.simulate_get("/page/page.js").headers["etag"]
    for given in (etag, f'"other", {etag}', "*"):
        again = client.simulate_get("/page/page.js", headers={"If-None-Match": given})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == etag
    assert client.simulate_get("/page/page.js", headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["__init__.py", "../__init__.py", "..%2f__init__.py", "%2e%2e/__init__.py", "page.js/", "PAGE.JS", ""],
)
def test_nothing_else_is_served(client, path):
    assert client.simulate_get(f"/page/{path}").status_code == 404


def test_the_page_needs_no_key_and_what_it_shows_does():
    def error(path):
        rules = AccessRules(Authentication([unrestricted("api_key", "secret")]), frozenset(), frozenset())
        return judge(rules, Asked("GET", path, "localhost", None, None)).error

    assert error("/") is None
    assert error("/page/page.js") is None
    assert error("/admin/events") is not None
    assert error("/v1/models") is not None


@pytest.mark.parametrize("name", page.FILES)
def test_no_file_refers_to_another_server(name):
    found = set(ELSEWHERE.findall(TEXTS[name])) - {"http://www.w3"}  # the name of SVG
    assert not found


def test_nothing_is_inline_and_no_markup_is_made_of_text():
    for name, text in TEXTS.items():
        if name.endswith(".html"):
            assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", text), name
        if name.endswith(".js"):
            assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text), (
                name
            )


def test_what_scripts_and_the_page_name_exists():
    for name, text in TEXTS.items():
        for file in re.findall(r'"/page/([\w.]+)"', text):
            assert file in FILES, name
    for name, text in TEXTS.items():
        html = TEXTS["docs.html" if name == "docs.js" else page.INDEX]
        ids = set(re.findall(r'\bid="([\w-]+)"', html))
        assert set(re.findall(r'byId\("([\w-]+)"\)', text)) <= ids, name
