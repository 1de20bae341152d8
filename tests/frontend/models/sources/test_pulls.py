"""Pulls from a hub, URLs, archives and local paths. The servers are real; the conversion is a stand-in."""

import hashlib
import io
import json
import random
import tarfile
import zipfile
from pathlib import Path

import pytest

from frontend.models.errors import ModelError, SourceError
from frontend.models.manifest import Origin
from frontend.models.pruning import prune
from frontend.models.sources.archives import unpack
from frontend.models.sources.asked import PullOptions, checked_source
from frontend.models.sources.assembly import Assembly, Ingredients
from frontend.models.sources.choice import Choice
from frontend.models.sources.spec import CatalogueName
from tests.frontend.models.sources.web_servers import COMMIT
from tests.frontend.models.tiny import GGUF, Recorder

REPOSITORY = "org/tiny-GGUF"
TEXT_CONFIG = b'{"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"}'
IR = {
    "config.json": TEXT_CONFIG,
    "openvino_model.xml": b"<net></net>",
    "openvino_model.bin": bytes(range(256)) * 500,
    "openvino_tokenizer.xml": b"<net></net>",
    "openvino_tokenizer.bin": b"t" * 2000,
    "openvino_detokenizer.xml": b"<net></net>",
    "openvino_detokenizer.bin": b"d",
    "tokenizer_config.json": b"{}",
}
PAPERS = {"README.md": b"# tiny", "LICENSE": b"Apache-2.0"}
ENCODER = {
    "config.json": b'{"model_type": "bert", "architectures": ["BertModel"]}',
    "tokenizer.json": b"{}",
    "model.safetensors": b"w" * 5000,
    "1_Pooling/config.json": b"{}",
}


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }


def only(store):
    (one,) = store.installed()
    return one


def leftovers(store):
    return [
        path for name in ("partial", ".trash") for path in store.root.glob(f"{name}/**/*") if path.is_file()
    ] + list(store.root.glob("*/*/partial-*"))


# --- hubs -------------------------------------------------------------------------------------------------


def test_a_repository_with_ir_is_stored_as_it_is(hub, puller, store):
    hub.add("org/tiny-ov", {**IR, **PAPERS, ".gitattributes": b"x", "images/big.png": b"p" * 5000})
    pulled = puller.pull("org/tiny-ov")
    assert (pulled.name, pulled.source, pulled.revision) == ("org/tiny-ov", "org/tiny-ov", COMMIT)
    one = only(store)
    assert contents(one.path) == IR | PAPERS
    origin = one.manifest.origin
    assert (origin.kind, origin.revision, origin.licence) == ("hub", COMMIT, "apache-2.0")
    assert origin.sha256["openvino_model.bin"] == hashlib.sha256(IR["openvino_model.bin"]).hexdigest()
    assert leftovers(store) == []


def test_a_model_that_is_there_is_not_fetched_again(hub, puller, store):
    hub.add("org/tiny-ov", IR)
    first = puller.pull("org/tiny-ov")
    sent = hub.sent
    assert puller.pull("hf.co/org/tiny-ov:latest").path == first.path
    assert hub.sent - sent < 200  # its config.json


def test_a_new_commit_replaces_the_old_one(hub, puller, store):
    hub.add("org/tiny-ov", IR)
    first = puller.pull("org/tiny-ov")
    hub.add("org/tiny-ov", {**IR, "openvino_model.bin": b"n" * 4000}, commit="d" * 40)
    second = puller.pull("org/tiny-ov")
    assert second.path != first.path
    assert only(store).manifest.origin.revision == "d" * 40
    assert [one.path for one in prune(store).removed] == [Path(first.path)]
    assert only(store).path == Path(second.path)


def test_a_revision_that_is_pulled_again_is_the_newest_again(hub, puller, store):
    hub.add("org/tiny-ov", IR)
    first = puller.pull("org/tiny-ov")
    hub.add("org/tiny-ov", {**IR, "openvino_model.bin": b"n" * 4000}, commit="d" * 40)
    second = puller.pull("org/tiny-ov")
    hub.add("org/tiny-ov", IR)
    assert puller.pull("org/tiny-ov") == first
    assert only(store).path == Path(first.path)
    assert [one.path for one in prune(store).removed] == [Path(second.path)]


def test_a_new_commit_that_the_store_has_under_another_name_replaces_the_old_one(hub, puller, store):
    hub.add("org/tiny-ov", IR)
    puller.pull("org/tiny-ov")
    hub.add("org/tiny-ov", {**IR, "openvino_model.bin": b"n" * 4000}, commit="d" * 40)
    puller.pull("org/tiny-ov", PullOptions(name="new"))
    assert puller.pull("org/tiny-ov").name == "org/tiny-ov"
    revisions = {one.name: one.manifest.origin.revision for one in store.installed()}
    assert revisions == {"new": "d" * 40, "org/tiny-ov": "d" * 40}


def test_latest_is_no_part_of_a_name(hub, puller, store):
    hub.add("org/tiny-ov", IR)
    assert puller.pull("org/tiny-ov", PullOptions(name="foo:latest")).name == "foo"
    assert store.require("foo:latest").name == "foo"
    assert checked_source("smollm2:latest", PullOptions(), {"smollm2"}) == CatalogueName("smollm2")


def test_files_of_a_hub_that_broke_are_not_fetched_twice(hub, puller, store):
    hub.add("org/tiny-ov", IR)
    hub.drop_every = 3
    puller.pull("org/tiny-ov")
    assert contents(only(store).path) == IR
    again = [
        path for method, path, headers in hub.seen if path.startswith("/cdn/") and "Range" not in headers
    ]
    assert len(again) == len(set(again))


@pytest.mark.parametrize(
    ("source", "file", "name"),
    [
        (REPOSITORY, "tiny-Q4_K_M.gguf", REPOSITORY),
        (f"{REPOSITORY}:Q8_0", "tiny-Q8_0.gguf", f"{REPOSITORY}:Q8_0"),
        (f"hf.co/{REPOSITORY}:q8_0", "tiny-Q8_0.gguf", f"{REPOSITORY}:q8_0"),
        (f"hf:{REPOSITORY}:tiny-Q8_0.gguf", "tiny-Q8_0.gguf", f"{REPOSITORY}:Q8_0"),
    ],
)
def test_a_gguf_is_chosen_by_its_quantization(hub, puller, store, source, file, name):
    files = {f"tiny-{each}.gguf": GGUF + each.encode() for each in ("Q2_K", "Q4_K_M", "Q8_0")}
    hub.add(REPOSITORY, {**files, "mmproj-F16.gguf": b"GGUF", **PAPERS})
    assert puller.pull(source).name == name
    one = only(store)
    assert (one.path / "openvino_model.bin").read_bytes() == files[file]
    assert (one.path / "LICENSE").read_bytes() == PAPERS["LICENSE"]
    assert one.name == name
    assert sum(path.startswith("/cdn/") for _, path, _ in hub.seen) == 1


def test_the_same_weights_under_another_name_are_not_fetched_again(hub, puller, store):
    hub.add(REPOSITORY, {"tiny-Q4_K_M.gguf": GGUF})
    puller.pull(REPOSITORY)
    sent = hub.sent
    assert puller.pull(f"{REPOSITORY}:Q4_K_M").name == f"{REPOSITORY}:Q4_K_M"
    assert hub.sent == sent
    assert [one.name for one in store.installed()] == [REPOSITORY, f"{REPOSITORY}:Q4_K_M"]


def test_two_repositories_with_the_same_files_are_pulled_again_and_again(hub, puller, store):
    hub.add("org/one", IR)
    hub.add("org/fork", IR, commit="d" * 40)
    for _ in range(2):
        assert puller.pull("org/one").revision == COMMIT
        assert puller.pull("org/fork").revision == "d" * 40
    sources = {one.name: (one.manifest.source, one.manifest.origin.revision) for one in store.installed()}
    assert sources == {"org/one": ("org/one", COMMIT), "org/fork": ("org/fork", "d" * 40)}


def test_a_kept_gguf_is_converted_again_by_another_version_without_its_bytes(hub, puller, store, monkeypatch):
    hub.add(REPOSITORY, {"tiny-Q4_K_M.gguf": GGUF})
    first = puller.pull(REPOSITORY)
    sent = hub.sent
    monkeypatch.setattr("frontend.models.sources.assembly.converter_versions", lambda: {"openvino": "9"})
    assert puller.pull(REPOSITORY).path != first.path
    assert hub.sent == sent


def test_a_gguf_that_cannot_be_converted_is_not_fetched(hub, puller, store):
    hub.add(REPOSITORY, {"tiny-Q4_K_M.gguf": GGUF})
    hub.gguf_architecture = "gemma3"
    with pytest.raises(ModelError, match="of the architecture 'gemma3'; only llama, qwen2, qwen3 can be"):
        puller.pull(REPOSITORY)
    assert hub.sent == 0
    hub.gguf_architecture = "qwen3"
    puller.pull(REPOSITORY)


def test_an_encoder_is_converted_by_us(hub, puller, store):
    hub.add("org/encoder", {**ENCODER, "pytorch_model.bin": b"old" * 900, "onnx/model.onnx": b"o" * 900})
    puller.pull("org/encoder", PullOptions(name="mine"))
    one = only(store)
    assert one.name == "mine"
    assert (one.path / "openvino_model.bin").read_bytes() == ENCODER["model.safetensors"]
    assert not any("pytorch_model" in path or "onnx" in path for _, path, _ in hub.seen)


def test_what_needs_optimum_says_how_to_install_it_before_anything_is_fetched(hub, puller, store):
    hub.add("org/llama", {"config.json": TEXT_CONFIG, "model.safetensors": b"w" * 5000})
    with pytest.raises(ModelError, match=r"optimum-intel does; install it with:\n.* -m pip install 'optimum"):
        puller.pull("org/llama")
    assert not any(path.startswith("/cdn/") for _, path, _ in hub.seen)


def test_an_ir_folder_without_its_tokenizer_is_refused_before_its_weights_are_fetched(hub, puller):
    hub.add("org/tiny-ov", {name: data for name, data in IR.items() if "_tokenizer" not in name})
    with pytest.raises(ModelError, match=r"it lacks .*openvino_tokenizer\.xml"):
        puller.pull("org/tiny-ov")
    assert not any(path.startswith("/cdn/") for _, path, _ in hub.seen)


@pytest.mark.parametrize(
    ("source", "options", "complaint"),
    [
        (
            "org/absent",
            {},
            "there is no repository org/absent, or it is private: correct its name, or set HF",
        ),
        (REPOSITORY, {"revision": "v9"}, f"{REPOSITORY} has no revision v9; correct --revision"),
        (f"{REPOSITORY}:Q5_K_M", {}, "has no Q5_K_M; it has Q4_K_M"),
        (REPOSITORY, {"pattern": "*.bin"}, r"has no file that matches --file \*.bin"),
        (REPOSITORY, {"weight_format": "int8"}, "has GGUF files, which keep their weights; leave --weight"),
        ("org/empty", {}, "org/empty holds no model that can be served"),
        ("nosuch", {}, "the catalogue has no 'nosuch'"),
        ("ftp5://x/y", {}, "unknown kind of source ftp5://"),
        ("smollm2", {"revision": "x"}, "the catalogue has no 'smollm2'"),
    ],
)
def test_what_cannot_be_pulled_is_explained_in_at_most_three_lines(hub, puller, source, options, complaint):
    hub.add(REPOSITORY, {"tiny-Q4_K_M.gguf": GGUF})
    hub.add("org/empty", {"README.md": b"#"})
    with pytest.raises(ModelError, match=complaint) as raised:
        puller.pull(source, PullOptions(**options))
    assert len(str(raised.value).splitlines()) <= 3


def test_a_gated_repository_needs_a_token_which_stays_with_the_hub(hub, puller, store, monkeypatch):
    hub.add("org/tiny-ov", IR)
    hub.gated, hub.token = {"org/tiny-ov"}, "hf_secret"
    with pytest.raises(ModelError, match=r"org/tiny-ov is gated: accept its terms at .*, then set HF_TOKEN"):
        puller.pull("org/tiny-ov")
    monkeypatch.setenv("HF_TOKEN", hub.token)
    puller.pull("org/tiny-ov")
    assert contents(only(store).path) == IR
    assert not any("Authorization" in headers for _, path, headers in hub.seen if path.startswith("/cdn/"))


def test_a_hub_that_is_away_does_not_hide_what_the_store_has(hub, puller, store, reporter):
    hub.add("org/tiny-ov", IR)
    pulled = puller.pull("org/tiny-ov")
    hub.statuses = [(503, {})] * 50
    assert puller.pull("org/tiny-ov") == pulled
    assert reporter.notes[-1].endswith("using the model in the store")
    with pytest.raises(ModelError, match=r"answered with status 503 \(3 tries\)"):
        puller.pull("org/other")


def test_a_name_that_another_model_has_is_refused(hub, puller, store):
    hub.add("org/tiny-ov", IR)
    hub.add("org/other-ov", IR)
    puller.pull("org/tiny-ov", PullOptions(name="mine"))
    with pytest.raises(ModelError, match=r"has a model mine from org/tiny-ov; .* nacelle rm mine"):
        puller.pull("org/other-ov", PullOptions(name="mine"))


def test_the_disk_is_looked_at_before_anything_large_is_fetched(hub, puller, monkeypatch):
    hub.add("org/tiny-ov", IR)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 50_000}))
    with pytest.raises(ModelError, match=r"org/tiny-ov needs 130\.\d kB, and 50\.0 kB are free: No space"):
        puller.pull("org/tiny-ov")
    assert not any(path.startswith("/cdn/") for _, path, _ in hub.seen)


# --- URLs -------------------------------------------------------------------------------------------------


def zipped(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(files, mode="w:gz"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def test_a_gguf_file_of_the_web_is_pulled_once(files, puller, store):
    files.files["/m/tiny-q4.gguf"] = GGUF
    url = f"{files.url}/m/tiny-q4.gguf?download=true"
    pulled = puller.pull(url)
    assert pulled.name == "tiny-q4"
    assert (only(store).path / "openvino_model.bin").read_bytes() == GGUF
    files.drop_every = 1  # so that nothing could be fetched
    assert puller.pull(url) == pulled
    files.drop_every = 0
    files.files["/m/tiny-q4.gguf"] = GGUF + b"changed"
    assert puller.pull(url).path != pulled.path


def test_a_hash_behind_a_url_is_compared(files, puller, store):
    files.files["/t.gguf"] = GGUF
    with pytest.raises(ModelError, match=r"the SHA-256 of t\.gguf is .*, not the expected 0000"):
        puller.pull(f"{files.url}/t.gguf#sha256={'0' * 64}")
    assert store.installed() == []
    pulled = puller.pull(f"{files.url}/t.gguf#sha256={hashlib.sha256(GGUF).hexdigest()}")
    seen = len(files.seen)
    assert puller.pull(f"{files.url}/t.gguf#sha256={hashlib.sha256(GGUF).hexdigest()}") == pulled
    assert len(files.seen) == seen


def test_credentials_of_a_url_are_sent_but_not_kept(files, puller, store):
    files.files["/t.gguf"] = GGUF
    puller.pull(f"{files.url.replace('://', '://me:p%40ss@')}/t.gguf")
    assert files.seen[0][2]["Authorization"] == "Basic bWU6cEBzcw=="
    assert only(store).manifest.source == f"{files.url}/t.gguf"


@pytest.mark.parametrize("pack", [zipped, tarred, lambda files: tarred(files, "w")])
@pytest.mark.parametrize("folder", ["", "tiny-ov/"])
def test_an_archive_of_a_model_folder_is_unpacked(files, puller, store, pack, folder):
    files.files["/tiny"] = pack({folder + name: data for name, data in (IR | PAPERS).items()})
    puller.pull(f"{files.url}/tiny", PullOptions(name="mine"))
    assert contents(only(store).path) == IR | PAPERS
    assert leftovers(store) == []


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "..\\evil"])
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_archive_writes_nothing_outside_of_its_folder(files, puller, store, tmp_path, pack, name):
    files.files["/tiny.zip"] = pack({**IR, name: b"evil"})
    with pytest.raises(ModelError, match="which lies outside of it"):
        puller.pull(f"{files.url}/tiny.zip")
    assert not list(tmp_path.rglob("evil"))
    assert store.installed() == []


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 and nothing", b"\x1f\x8b damaged"])
def test_what_is_no_model_is_refused(files, puller, store, content):
    files.files["/x.gguf"] = content
    with pytest.raises(ModelError, match=r"neither a GGUF file nor an archive|a damaged archive"):
        puller.pull(f"{files.url}/x.gguf")
    assert store.installed() == []


# --- local paths ------------------------------------------------------------------------------------------


def write(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_a_local_gguf_file_is_converted_and_may_get_a_name(puller, store, tmp_path, monkeypatch):
    (tmp_path / "x.gguf").write_bytes(GGUF)
    monkeypatch.chdir(tmp_path)
    assert puller.pull("./x.gguf").name == "x"
    assert puller.pull("x.gguf", PullOptions(name="mine")).name == "mine"
    assert [one.name for one in store.installed()] == ["mine", "x"]


def test_a_local_ir_folder_is_copied_into_the_store(puller, store, tmp_path):
    folder = write(tmp_path / "my-ir", IR)
    pulled = puller.pull(str(folder))
    assert pulled.name == "my-ir"
    (folder / "openvino_model.bin").write_bytes(b"changed in place")
    assert contents(only(store).path) == IR


def test_a_local_folder_of_relative_links_is_copied_with_what_they_lead_to(puller, store, tmp_path):
    blobs = write(tmp_path / "hub" / "blobs", IR)
    folder = tmp_path / "hub" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    for name in IR:
        (folder / name).symlink_to(f"../../blobs/{name}")
    puller.pull(str(folder), PullOptions(name="mine"))
    assert contents(only(store).path) == IR
    assert not any(path.is_symlink() for path in only(store).path.iterdir())
    for name in IR:
        (blobs / name).write_bytes(b"changed in place")
    assert contents(only(store).path) == IR


def test_a_model_without_a_file_that_was_chosen_is_not_built(puller, store, tmp_path):
    folder = write(tmp_path / "my-ir", IR)
    choice = Choice("ir", [*IR, "openvino_gone.bin"])
    made_of = Ingredients(name="x", source="s", origin=Origin(), choice=choice, fingerprint="f")
    with pytest.raises(ModelError, match=r"s lacks openvino_gone\.bin"):
        Assembly(store, Recorder(), {}).build(made_of, folder, {})
    assert store.installed() == []


def test_a_local_archive_is_unpacked(puller, store, tmp_path):
    (tmp_path / "tiny.tar.gz").write_bytes(tarred(IR))
    puller.pull(str(tmp_path / "tiny.tar.gz"), PullOptions(name="mine"))
    assert contents(only(store).path) == IR
    assert (tmp_path / "tiny.tar.gz").exists()


def test_a_local_file_has_no_weight_format(puller, tmp_path):
    (tmp_path / "x.gguf").write_bytes(GGUF)
    with pytest.raises(ModelError, match=r"x\.gguf is a single file; leave --weight-format and --file out"):
        puller.pull(str(tmp_path / "x.gguf"), PullOptions(weight_format="int8"))


def test_a_path_that_is_not_there_is_called_that(puller):
    with pytest.raises(ModelError, match=r"there is no file or folder \./nosuch\.gguf; check the path"):
        puller.pull("./nosuch.gguf")


@pytest.mark.parametrize("source", ["./x", "/etc/passwd", "../m", "~/m", "."])
def test_no_path_is_taken_where_none_is_allowed(puller, source):
    with pytest.raises(ModelError, match="only the command line takes paths"):
        puller.pull(source, PullOptions(local=False))


@pytest.mark.parametrize(
    "source", ["file:///etc/passwd", "local:///m", "simplecache::file:///m", "zip://a::/m", "FILE:///m"]
)
def test_no_url_of_a_local_file_is_taken(puller, source):
    with pytest.raises(ModelError):
        puller.pull(source, PullOptions(local=False))
    with pytest.raises(ModelError, match="write the path of a local file"):
        puller.pull(source)


def test_a_manifest_of_a_repository_does_not_become_ours(hub, puller, store):
    forged = {"recipe": {"kind": "x", "name": "evil", "sha256": "", "converters": {}}, "source": "x"}
    hub.add("org/tiny-ov", {**IR, "manifest.json": json.dumps(forged).encode()})
    puller.pull("org/tiny-ov")
    assert [one.name for one in store.installed()] == ["org/tiny-ov"]


# --- secrets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [0, 403])
def test_no_password_and_no_signature_of_a_url_is_shown_or_kept(files, puller, store, reporter, status):
    files.files["/m.gguf"] = GGUF
    files.statuses = [(status, {})] * bool(status)
    source = f"http://me:hunter2@127.0.0.1:{files.port}/m.gguf?X-Amz-Signature=abcdef"
    try:
        pulled = puller.pull(source)
    except ModelError as error:
        assert str(error) == f"cannot pull {files.url}/m.gguf: HTTP status 403: the server does not allow it"
    else:
        assert status == 0
        assert pulled.source == only(store).manifest.source == f"{files.url}/m.gguf"
        assert puller.pull(source).path == pulled.path
        assert files.bodies == 2, "it is fetched, and looked at when it is pulled again"
        assert b"hunter2" not in (only(store).path / "manifest.json").read_bytes()
    shown = " ".join(map(str, vars(reporter).values()))
    assert "hunter2" not in shown
    assert "abcdef" not in shown


# --- archives that cannot be read -------------------------------------------------------------------------


NOISE = bytes(byte & 15 for byte in random.Random(1).randbytes(400_000))


def damaged(content: bytes) -> bytes:
    return content[: len(content) // 2] + bytes(len(content) - len(content) // 2)


def with_zip_header(at: int, value: int) -> bytes:
    """A zip archive in whose headers a field of two bytes has another value."""
    content = bytearray(zipped({"m.bin": b"m" * 100}))
    for magic, more in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
        place = content.index(magic) + at + more
        content[place : place + 2] = value.to_bytes(2, "little")
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        damaged(tarred({"m.bin": NOISE}, "w:gz")),
        damaged(tarred({"m.bin": NOISE}, "w:xz")),
        damaged(tarred({"m.bin": NOISE}, "w:bz2")),
        with_zip_header(6, 1),
        with_zip_header(8, 77),
    ],
    ids=["gz", "xz", "bz2", "encrypted", "unknown method"],
)
def test_an_archive_that_cannot_be_read_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(SourceError, match=r"^a (is|cannot) [^\n]*\Z"):
        unpack(tmp_path / "a", tmp_path / "new")


def test_too_many_files_are_noticed_before_all_headers_are_read(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(damaged(tarred({f"{n}": b"" for n in range(40)}, "w")))
    monkeypatch.setattr("frontend.models.sources.archives._MAX_FILES", 5)
    monkeypatch.setattr(tarfile.TarFile, "getmembers", None)
    with pytest.raises(SourceError, match="a holds more than 5 files"):
        unpack(tmp_path / "a", tmp_path / "new")
