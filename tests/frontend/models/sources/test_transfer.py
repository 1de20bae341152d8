"""Transfers over real HTTP: whole and verified, or not there; what has arrived is not fetched again."""

import base64
import hashlib
import random

import pytest

from frontend.models.errors import SourceError
from frontend.models.sources.retries import Patience, Transient, backoff, retry_after
from frontend.models.sources.transfer import Digest, Expected, transfer
from frontend.models.sources.web import open_url

CONTENT = random.Random(7).randbytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
VERIFIED = Expected(digest=Digest("sha256", SHA256))
FILE = "/model.gguf"


@pytest.fixture
def progress():
    return []


@pytest.fixture
def fetch(files, tmp_path, naps, progress):
    files.files[FILE] = CONTENT
    files.piece = 65536

    def run(expected=VERIFIED, tries=3, **headers):
        opened = open_url(files.url + FILE, headers, html=False)
        patience = Patience(tries, naps.append)
        transfer(opened, tmp_path / "file", expected, lambda done, _: progress.append(done), patience)
        return (tmp_path / "file").read_bytes()

    return run


def left(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir())


def test_a_broken_connection_is_resumed_where_it_broke(files, fetch, tmp_path, naps):
    files.drop_every = 1  # each answer breaks in its middle: half, a quarter, an eighth …
    with pytest.raises(SourceError, match=r"broke after 1500000 of 3000000 bytes$"):
        fetch(tries=1)
    assert left(tmp_path) == ["file.part", "file.part.json"]
    files.drop_every = 0
    assert fetch() == CONTENT
    assert left(tmp_path) == ["file"]
    assert files.sent == len(CONTENT)
    ranges = [headers.get("Range") for _, _, headers in files.seen]
    assert ranges == [None, "bytes=1500000-"]


def test_every_third_connection_may_break(files, fetch):
    files.drop_every = 3
    for _ in range(3):
        assert fetch() == CONTENT


def test_as_long_as_bytes_arrive_there_is_another_try(files, fetch, naps):
    files.drop_every = 1
    with pytest.raises(SourceError):
        fetch(tries=3)  # the last ones bring nothing: half of one byte is none
    assert len(naps) > 15
    assert set(naps[:15]) == {1.0}


def test_a_server_that_ignores_ranges_is_asked_for_all_of_it(files, fetch):
    files.ignores_range = True
    files.drop_every = 2
    files.bodies = 1
    assert fetch() == CONTENT
    assert files.sent == len(CONTENT) * 3 // 2


def test_a_server_that_ignores_ranges_and_always_breaks_is_given_up(files, fetch, naps):
    files.ignores_range = True
    files.drop_every = 1
    with pytest.raises(SourceError, match=r"\(3 tries\)"):
        fetch()
    assert naps == [1.0, 2.0]


def test_a_file_that_changed_meanwhile_is_fetched_anew(files, fetch, tmp_path):
    files.drop_every = 1
    with pytest.raises(SourceError):
        fetch(Expected(), tries=1)
    files.drop_every = 0
    files.files[FILE] = other = CONTENT[::-1]
    assert fetch(Expected()) == other
    assert files.seen[-1][2]["If-Range"] == f'"{SHA256}"'


def test_the_beginning_of_another_file_is_noticed_by_the_checksum(files, fetch, tmp_path):
    (tmp_path / "file.part").write_bytes(b"x" * 1000)
    (tmp_path / "file.part.json").write_text('{"identity":"","validator":""}')
    assert fetch() == CONTENT
    assert [headers.get("Range") for _, _, headers in files.seen] == ["bytes=1000-", None]


def test_what_cannot_be_recognized_is_not_resumed(files, fetch, tmp_path):
    (tmp_path / "file.part").write_bytes(b"x" * 1000)
    (tmp_path / "file.part.json").write_text('{"identity":"","validator":""}')
    assert fetch(Expected()) == CONTENT
    assert "Range" not in files.seen[0][2]


def test_a_part_that_is_whole_is_only_verified(files, fetch, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT)
    (tmp_path / "file.part.json").write_text('{"identity":"","validator":""}')
    assert fetch() == CONTENT
    assert files.sent == 0


@pytest.mark.parametrize("kind", ["sha256", "md5", "git"])
def test_a_wrong_checksum_leaves_nothing(files, fetch, tmp_path, kind):
    expected = Expected(len(CONTENT), Digest(kind, "0" * 40))
    with pytest.raises(SourceError, match=f"of file is .*, not the expected {'0' * 40}"):
        fetch(expected)
    assert left(tmp_path) == []


def test_other_checksums_are_compared(files, fetch, tmp_path):
    git = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()
    assert fetch(Expected(len(CONTENT), Digest("git", git))) == CONTENT
    (tmp_path / "file").unlink()
    assert fetch(Expected(digest=Digest("md5", hashlib.md5(CONTENT).hexdigest()))) == CONTENT


@pytest.mark.parametrize(
    ("header", "value"), [("x-goog-hash", "crc32c=AAAAAA==,md5={}"), ("Repr-Digest", "sha-256=:{}:")]
)
def test_a_checksum_that_the_server_states_is_compared(files, fetch, tmp_path, header, value):
    digest = hashlib.md5 if "md5" in value else hashlib.sha256
    files.headers[header] = value.format(base64.b64encode(digest(CONTENT).digest()).decode())
    assert fetch(Expected()) == CONTENT
    (tmp_path / "file").unlink()
    files.headers[header] = value.format(base64.b64encode(digest(b"other").digest()).decode())
    with pytest.raises(SourceError, match=f"of file is .*, not the expected {digest(b'other').hexdigest()}"):
        fetch(Expected())


def test_a_size_other_than_the_expected_refuses_the_file(files, fetch):
    with pytest.raises(SourceError, match="file has 3000000 bytes, not the expected 5"):
        fetch(Expected(5))


@pytest.mark.parametrize(
    ("status", "text"),
    [(404, "nothing is there"), (403, "the server does not allow it"), (401, "requires credentials")],
)
def test_a_refusal_is_explained_and_not_repeated(files, fetch, naps, status, text):
    files.statuses = [(status, {})]
    with pytest.raises(SourceError, match=f"HTTP status {status}: .*{text}"):
        fetch()
    assert naps == []


def test_a_busy_server_is_asked_again_when_it_says(files, fetch, naps):
    files.statuses = [(429, {"Retry-After": "7"}), (503, {})]
    assert fetch() == CONTENT
    assert naps == [7.0, 2.0]


def test_nobody_waits_an_hour(files, fetch, naps):
    files.statuses = [(429, {"Retry-After": "3600"})]
    with pytest.raises(SourceError, match="the server asks to try again in 60 minutes"):
        fetch()
    assert naps == []


def test_a_web_page_is_no_file(files, fetch):
    files.headers["Content-Type"] = "text/html; charset=utf-8"
    with pytest.raises(SourceError, match="is a web page, not a file"):
        fetch()


def test_credentials_stay_with_their_host(files, fetch):
    files.statuses = [(302, {"Location": f"{files.url}/model.gguf"})]
    fetch(Authorization="Bearer secret")
    assert files.seen[-1][2]["Authorization"] == "Bearer secret"


def test_credentials_do_not_follow_to_another_host(files, fetch):
    files.statuses = [(302, {"Location": f"http://localhost:{files.port}/model.gguf"})]
    fetch(Authorization="Bearer secret")
    assert "Authorization" in files.seen[0][2]
    assert "Authorization" not in files.seen[1][2]


def test_progress_includes_what_was_there(files, fetch, progress):
    files.drop_every = 1
    with pytest.raises(SourceError):
        fetch(tries=1)
    files.drop_every = 0
    progress.clear()
    fetch()
    assert progress[0] > 1_500_000
    assert progress[-1] == len(CONTENT)


def test_a_damaged_file_that_is_there_is_fetched_again(files, fetch, tmp_path):
    (tmp_path / "file").write_bytes(CONTENT[:-1] + b"x")
    assert fetch() == CONTENT
    (tmp_path / "file").write_bytes(CONTENT[:-1])
    assert fetch(Expected(len(CONTENT), identity="v1")) == CONTENT
    assert files.bodies == 2
    fetch()
    assert files.bodies == 2


def test_a_whole_file_without_a_checksum_is_asked_for_again(files, fetch, tmp_path):
    assert fetch(Expected()) == CONTENT
    assert fetch(Expected()) == CONTENT
    assert files.bodies == 1, "it has not changed"
    files.files[FILE] = other = CONTENT[::-1]
    assert fetch(Expected()) == other


def test_two_versions_are_not_joined_by_a_server_that_ignores_if_range(files, fetch, monkeypatch):
    files.drop_every = 1
    with pytest.raises(SourceError):
        fetch(Expected(), tries=1)
    files.drop_every = 0
    files.files[FILE] = other = CONTENT[::-1]
    send = files.send_file

    def without_if_range(handler, content, **options):
        del handler.headers["If-Range"]
        send(handler, content, **options)

    monkeypatch.setattr(files, "send_file", without_if_range)
    assert fetch(Expected()) == other


# --- patience ---------------------------------------------------------------------------------------------


def test_the_back_off_doubles_and_ends():
    assert [backoff(failures) for failures in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, 0), ("12", 12), ("Thu, 01 Jan 1970 00:01:40 GMT", 90), ("soon", 0), ("-4", 0)],
)
def test_retry_after_is_a_number_or_a_date(value, seconds):
    assert retry_after(value, 10.0) == seconds


def test_progress_restores_patience(naps):
    patience = Patience(2, naps.append)
    for done in (1, 2, 3):
        patience.wait(Transient("broke"), done)
    with pytest.raises(SourceError, match=r"broke \(2 tries\)"):
        patience.wait(Transient("broke"), 3)
