"""Settings: which source wins, what is refused, and what the refusal says."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from frontend.config import GIB, ConfigError, ModelSettings, Settings, check_bind, is_loopback, kv_cache_bytes
from frontend.config_environment import Note
from frontend.config_sources import default_name, load_settings, settings_of
from frontend.config_values import Given


@pytest.fixture
def config(tmp_path):
    """Writes a settings file and returns its path."""

    def write(text: str) -> Path:
        path: Path = tmp_path / "nacelle.toml"
        path.write_text(text)
        return path

    return write


def loaded(*sources: Any, **named: Any) -> Settings:
    settings, _ = load_settings(*sources, **named)
    return settings


# --- precedence -----------------------------------------------------------------------------------------


def test_without_any_source_there_are_defaults():
    assert loaded() == Settings()


def test_a_file_wins_over_a_default(config):
    assert loaded(config=config("[server]\nport = 1111")).port == 1111


def test_the_environment_wins_over_a_file(config):
    file = config("[server]\nport = 1111\nmax_queue = 7")
    settings = loaded(config=file, environ={"NACELLE_PORT": "2222"})
    assert (settings.port, settings.max_queue) == (2222, 7)


def test_an_option_wins_over_the_environment():
    options = {"port": Given("3333", "--port")}
    assert loaded(options, environ={"NACELLE_PORT": "2222"}).port == 3333


def test_an_empty_variable_counts_as_unset():
    assert loaded(environ={"NACELLE_API_KEY": "", "NACELLE_PORT": ""}) == Settings()


def test_a_model_variable_is_a_default_for_models_that_do_not_say_otherwise(config):
    file = config('[[models]]\nsource = "a"\ndevice = "GPU.0"\n[[models]]\nsource = "b"')
    settings = loaded(config=file, environ={"NACELLE_DEVICE": "NPU"})
    assert [model.device for model in settings.models] == ["GPU.0", "NPU"]


def test_a_model_option_wins_over_the_file_for_every_model(config):
    file = config('[[models]]\nsource = "a"\ndevice = "GPU.0"\n[[models]]\nsource = "b"')
    settings = loaded(model_options={"device": Given("CPU", "--device")}, config=file)
    assert [model.device for model in settings.models] == ["CPU", "CPU"]


def test_models_named_on_the_command_line_are_the_only_ones_served(config):
    file = config('[[models]]\nname = "small"\nsource = "a"\nreplicas = 3\n[[models]]\nsource = "b"')
    small, other = loaded(models=["small", "other"], config=file).models
    assert (small.name, small.source, small.replicas) == ("small", "a", 3)
    assert (other.name, other.source, other.replicas) == ("other", "other", 1)


def test_an_entry_without_a_name_is_found_by_that_of_its_source(config):
    file = config('[[models]]\nsource = "smollm2"\nreplicas = 3')
    (model,) = loaded(models=["smollm2"], config=file).models
    assert model.replicas == 3


def test_models_can_be_named_in_the_environment():
    settings = loaded(environ={"NACELLE_MODELS": "smollm2, synthetic:5"})
    assert [model.source for model in settings.models] == ["smollm2", "synthetic:5"]


def test_relative_paths_of_a_file_start_at_the_file(config, tmp_path):
    file = config('[[models]]\nsource = "./models/a"\n[[models]]\nsource = "smollm2"')
    sources = [model.source for model in loaded(config=file).models]
    assert sources == [str(tmp_path / "models" / "a"), "smollm2"]


def test_all_paths_of_the_server_start_at_the_file(config, tmp_path):
    settings = loaded(config=config('[server]\nstore = "models"\nsession_store = "sqlite:s.db"'))
    assert settings.store == str(tmp_path / "models")
    assert settings.session_store == f"sqlite:{tmp_path}/s.db"
    for url in ("memory:", "redis://localhost/1", "sqlite:/var/s.db"):
        assert loaded(config=config(f'[server]\nsession_store = "{url}"')).session_store == url


def test_all_paths_of_a_model_start_at_the_file_and_catalogue_names_stay(config, tmp_path):
    file = config(
        """
        [[models]]
        source = "smollm2"
        draft_model = "./draft.gguf"
        chat_template = "t.jinja"
        adapters = { poet = "poet.safetensors:0.5", far = "/far.safetensors" }
        [[models]]
        source = "other"
        draft_model = "smollm2"
        """
    )
    first, second = loaded(config=file).models
    assert first.draft_model == str(tmp_path / "draft.gguf")
    assert first.chat_template == str(tmp_path / "t.jinja")
    assert first.adapters == {"poet": f"{tmp_path}/poet.safetensors:0.5", "far": "/far.safetensors"}
    assert (first.source, second.draft_model) == ("smollm2", "smollm2")


LIMITS = [
    f"{whose}{limit}"
    for whose in ("", "total_")
    for limit in ("requests_per_minute", "tokens_per_minute", "max_concurrent")
]


@pytest.mark.parametrize("setting", settings_of(Settings), ids=lambda setting: setting.name)
def test_every_server_setting_can_come_from_the_environment(setting):
    examples = {
        bool: ("true", True),
        list: ("one,two", ["one", "two"]),
        dict: ("CPU=16", {"CPU": "16"}),
        int: (str(setting.default or 9000), setting.default or 9000),
    }
    own = {
        "variants": ("a=b:1", {"a": {"b": 1.0}}),
        "registry_api_key_env": ("A_KEY", "A_KEY"),
        "jwt_jwks_url": ("https://a.example/keys", "https://a.example/keys"),
        "jwt_algorithms": ("RS256,ES256", ["RS256", "ES256"]),
        **dict.fromkeys(("ollama_port", *LIMITS), ("9000", 9000)),
    }
    default = (str(setting.default or "9000"), setting.default or "9000")
    written, expected = own.get(setting.name) or examples.get(type(setting.default), default)
    settings = loaded(environ={setting.variable: written})
    value = getattr(settings, setting.name)
    if setting.name == "models":
        assert [model.source for model in value] == ["one", "two"]
    else:
        assert value == expected


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("NAME", "mine", "mine"),
        ("DEVICE", "GPU.1", "GPU.1"),
        ("REPLICAS", "2", 2),
        ("PROPERTIES", "NUM_STREAMS=1,HINT=a=b", {"NUM_STREAMS": "1", "HINT": "a=b"}),
        ("PROPERTIES", '{"PRIORITIES": "GPU,CPU"}', {"PRIORITIES": "GPU,CPU"}),
        ("THREADS", "4", 4),
        ("KV_CACHE_GIB", "0.5", 0.5),
        ("CONTEXT_LENGTH", "4096", 4096),
        ("MAX_NUM_SEQS", "8", 8),
        ("MAX_NUM_BATCHED_TOKENS", "512", 512),
        ("PREFIX_CACHING", "false", False),
        ("ENGINE", "stateful", "stateful"),
        ("KV_CACHE_PRECISION", "f16", "f16"),
        ("CACHE_EVICTION_TOKENS", "512", 512),
        ("DRAFT_MODEL", "smollm2", "smollm2"),
        ("DRAFT_DEVICE", "GPU.1", "GPU.1"),
        ("PROMPT_LOOKUP", "true", True),
        ("NUM_ASSISTANT_TOKENS", "6", 6),
        ("MAX_NGRAM_SIZE", "2", 2),
        ("ADAPTERS", "poet=p.safetensors:0.5", {"poet": "p.safetensors:0.5"}),
        ("GENERATION_DEFAULTS", "top_k=5", {"top_k": "5"}),
        ("CHAT_TEMPLATE", "t.jinja", "t.jinja"),
        ("TOOL_FORMAT", "hermes", "hermes"),
        ("REASONING_FORMAT", "think", "think"),
        ("SOFT_MEMORY_GIB", "4", 4.0),
    ],
)
def test_every_model_setting_can_come_from_the_environment(variable, text, value):
    (model,) = loaded(models=["m"], environ={f"NACELLE_{variable}": text}).models
    assert getattr(model, variable.lower()) == value


# --- refusals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        ({"NACELLE_PORT": "abc"}, "NACELLE_PORT: must be a whole number, not 'abc'"),
        ({"NACELLE_PORT": "70000"}, "NACELLE_PORT: must be a whole number <= 65535, not '70000'"),
        ({"NACELLE_PORT": "http://10.0.0.1:8000"}, "NACELLE_PORT: must be a whole number"),
        ({"NACELLE_STALL_SECONDS": "nan"}, "NACELLE_STALL_SECONDS: must be a number > 0"),
        ({"NACELLE_STALL_SECONDS": "inf"}, "NACELLE_STALL_SECONDS: must be a number <= "),
        ({"NACELLE_STALL_SECONDS": "0"}, "NACELLE_STALL_SECONDS: must be a number > 0"),
        ({"NACELLE_LOG_FORMAT": "xml"}, "NACELLE_LOG_FORMAT: must be text or json, not 'xml'"),
        ({"NACELLE_FAULTS": "maybe"}, "NACELLE_FAULTS: must be true or false, not 'maybe'"),
        ({"NACELLE_REPLICAS": "0"}, "NACELLE_REPLICAS: must be a whole number >= 1, not '0'"),
        ({"NACELLE_KV_CACHE_GIB": "-1"}, "NACELLE_KV_CACHE_GIB: must be a number > 0"),
        ({"NACELLE_PROPERTIES": "FAST"}, "NACELLE_PROPERTIES: must be KEY=VALUE, not 'FAST'"),
        ({"NACELLE_PROPERTIES": "{"}, "NACELLE_PROPERTIES: invalid JSON"),
    ],
)
def test_a_bad_variable_is_named(environ, complaint):
    with pytest.raises(ConfigError) as raised:
        loaded(models=["m"], environ=environ)
    assert str(raised.value).startswith(complaint)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("api_key", ["hush hush", "hush\nhush", "hush\x7f", "h\u00fcsh", "hush\u2028hush"])
def test_an_api_key_that_no_client_could_send_is_refused_and_not_repeated(config, api_key):
    for sources in (
        {"environ": {"NACELLE_API_KEY": api_key}},
        {"config": config(f"[server]\napi_key = {json.dumps(api_key)}")},
        {"server_options": {"api_key": Given(api_key, "--api-key")}},
    ):
        with pytest.raises(ConfigError, match=r"visible ASCII characters without blanks$") as raised:
            loaded(**sources)
        assert "hush" not in str(raised.value)


@pytest.mark.parametrize("around", ["{}\n", "{}\r\n", " {}", "{} ", "\t{}\n\n"])
def test_blanks_around_an_api_key_are_no_part_of_it(config, around):
    key = around.format("sk-1")
    for sources in (
        {"environ": {"NACELLE_API_KEY": key}},
        {"config": config(f"[server]\napi_key = {json.dumps(key)}")},
        {"server_options": {"api_key": Given(key, "--api-key")}},
    ):
        assert loaded(**sources).api_key == "sk-1"


def test_a_bad_api_key_is_not_repeated():
    with pytest.raises(ConfigError) as raised:
        loaded(environ={"NACELLE_API_KEY": "hush hush"})
    assert "NACELLE_API_KEY" in str(raised.value)
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[server]\nprot = 1", r"\[server\]: unknown setting 'prot'; did you mean 'port'\?"),
        ("[server]\nport = '1'\nfaults = true", r"\[server\]: unknown setting 'faults'"),
        ("[server]\nport = 80000", r"\[server\] port: must be a whole number <= 65535, not 80000"),
        ("[server]\nallowed_hosts = 'a'\nmax_queue = 1.5", r"\[server\] max_queue: must be a whole number"),
        (
            "[[models]]\nsource = 'a'\n[[models]]\nsource = 'b'\ncpu = 1",
            r"\[\[models\]\] 2: unknown setting 'cpu'",
        ),
        ("[[models]]\ndevice = 'CPU'", r"\[\[models\]\] 1: source is missing"),
        ("[[models]]\nname = 'x'", r"\[\[models\]\] 1: source is missing"),
        ("[[models]]\nsource = 'a'\nreplicas = true", r"\[\[models\]\] 1 replicas: must be a whole number"),
        (
            "[[models]]\nsource = 'a'\nadapters = 'x'",
            r"\[\[models\]\] 1 adapters: must be KEY=VALUE, not 'x'",
        ),
        ("[[models]]\nsource = 'a'\ndraft_model = 1", r"\[\[models\]\] 1 draft_model: must be text"),
        ("[models]\nsource = 'a'", r"each model must be an array entry, \[\[models\]\]"),
        ("server = 1", r"the server's settings must be a table, \[server\]"),
        ("[sever]", "unknown table 'sever'"),
        ("[server", "cannot read .*nacelle.toml"),
    ],
)
def test_a_bad_file_is_named_with_the_place(config, text, complaint):
    with pytest.raises(ConfigError, match=complaint) as raised:
        loaded(config=config(text))
    assert "nacelle.toml" in str(raised.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*absent.toml"):
        loaded(config=tmp_path / "absent.toml")


def test_two_models_with_one_name_are_refused():
    with pytest.raises(ConfigError, match=r"two models have the name 'm' \(./a/m and ./b/m\)"):
        loaded(models=["./a/m", "./b/m"])


def test_an_adapter_takes_a_name_that_no_other_model_may_have(config):
    file = config(
        "[[models]]\nsource = 'a'\nadapters = {x = 'x.safetensors'}\n[[models]]\nname = 'a:x'\nsource = 'b'"
    )
    with pytest.raises(ConfigError, match=r"two models have the name 'a:x' \(a and b\)"):
        loaded(config=file)


def test_options_that_exclude_each_other_are_refused():
    environ = {"NACELLE_DRAFT_MODEL": "b", "NACELLE_PROMPT_LOOKUP": "true"}
    with pytest.raises(ConfigError, match="model 'a': draft_model and prompt_lookup exclude each other"):
        loaded(models=["a"], environ=environ)


def test_a_folder_that_is_there_is_not_taken_for_a_models_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert default_name("models/qwen") == "models/qwen"
    (tmp_path / "models" / "qwen").mkdir(parents=True)
    assert default_name("models/qwen") == "qwen"


def test_two_models_cannot_share_a_given_name():
    with pytest.raises(ConfigError, match="--name: 2 models cannot share one name"):
        loaded(model_options={"name": Given("x", "--name")}, models=["a", "b"])


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("smollm2", "smollm2"),
        ("/models/Qwen3-8B-int4/", "Qwen3-8B-int4"),
        ("./My model (1).gguf", "My-model-1"),
        ("synthetic:100", "synthetic"),
        ("smollm2:latest", "smollm2"),
        ("yours:v1", "yours:v1"),
        ("Qwen/Qwen3-0.6B:Q4_K_M", "Qwen/Qwen3-0.6B:Q4_K_M"),
        ("Qwen/Qwen3-0.6B:latest", "Qwen/Qwen3-0.6B"),
        ("models/m.gguf", "m"),
    ],
)
def test_a_model_without_a_name_is_called_by_its_source(source, name):
    assert default_name(source) == name


# --- how people write values -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("LOG_LEVEL", "INFO", "info"),
        ("LOG_LEVEL", " Warning ", "warning"),
        ("LOG_FORMAT", "JSON", "json"),
        ("PORT", " 8001\n", 8001),
        ("STALL_SECONDS", " 2.5 ", 2.5),
        ("HOST", " ::1 ", "::1"),
        ("ALLOWED_HOSTS", " a , b,", ["a", "b"]),
        ("ALLOWED_ORIGINS", "https://a.example/", ["https://a.example/"]),
        ("SESSION_STORE", "sqlite:/var/s.db\n", "sqlite:/var/s.db"),
    ],
)
def test_case_and_blanks_do_not_matter(variable, text, value):
    assert getattr(loaded(environ={f"NACELLE_{variable}": text}), variable.lower()) == value


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("DEVICE", "gpu.0", "GPU.0"),
        ("DRAFT_DEVICE", "cpu", "CPU"),
        ("KV_CACHE_PRECISION", "U8", "u8"),
        ("ENGINE", "Continuous-Batching", "continuous_batching"),
        ("POOLING", "last-token", "last_token"),
        ("TOOL_FORMAT", "Hermes", "hermes"),
    ],
)
def test_case_does_not_matter_in_the_settings_of_a_model(variable, text, value):
    (model,) = loaded(models=["m"], environ={f"NACELLE_{variable}": text}).models
    assert getattr(model, variable.lower()) == value


@pytest.mark.parametrize("word", ["true", "True", "1", "yes", "Y", "on", "enabled", " TRUE "])
def test_every_usual_word_for_true_is_understood(config, word):
    assert loaded(environ={"NACELLE_FAULTS": word}).faults
    file = config(f"[[models]]\nsource = 'a'\nprompt_lookup = '{word}'")
    assert loaded(config=file).models[0].prompt_lookup


@pytest.mark.parametrize("word", ["false", "FALSE", "0", "no", "n", "Off", "disabled"])
def test_every_usual_word_for_false_is_understood(word):
    (model,) = loaded(
        models=["m"], environ={"NACELLE_PREFIX_CACHING": word, "NACELLE_NORMALIZE": word}
    ).models
    assert (model.prefix_caching, model.normalize) == (False, False)


def test_a_variable_of_blanks_counts_as_unset():
    assert loaded(environ={"NACELLE_PORT": " \n", "NACELLE_MODELS": " "}) == Settings()


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    file = tmp_path / "nacelle.toml"
    file.write_bytes(b"\xef\xbb\xbf[server]\r\nport = 1111\r\n")
    assert loaded(config=file).port == 1111


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("[server]\nport = 1".encode("utf-16"), "it is not UTF-8 text; save it as UTF-8"),
        (b"a = " + b"[" * 100_000, "as TOML: "),
        (b"#" * 2_000_000, "it is larger than 1 MiB"),
        (b"port = 1", "unknown table 'port'; write port below a line with [server]"),
        (b"device = 'CPU'", "unknown table 'device'; write device below a line with [[models]]"),
        (b"[server]\nctx_size = 1\n", "unknown setting 'ctx_size'; see nacelle serve --help"),
        (b"[server]\nloglevel = 1\n", "unknown setting 'loglevel'; did you mean 'log_level'?"),
        (
            b"[[models]]\nsource='a'\nctx_size = 1",
            "unknown setting 'ctx_size'; did you mean 'context_length'?",
        ),
        (b"[[models]]\nsource='~no-such-user/x'", "names a home that does not exist; write the whole path"),
        (b'[[models]]\nsource="a\\u0000b"', "must be UTF-8 text without control characters"),
    ],
)
def test_a_file_of_another_kind_or_with_slips_is_explained_in_one_line(tmp_path, content, complaint):
    file = tmp_path / "nacelle.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        loaded(config=file)
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value)


# --- variables that are not ours ----------------------------------------------------------------------------

KUBERNETES = {
    "NACELLE_SERVICE_HOST": "10.3.2.1",
    "NACELLE_SERVICE_PORT": "8000",
    "NACELLE_SERVICE_PORT_HTTP": "8000",
    "NACELLE_PORT": "tcp://10.3.2.1:8000",
    "NACELLE_PORT_8000_TCP": "tcp://10.3.2.1:8000",
    "NACELLE_PORT_8000_TCP_PROTO": "tcp",
    "NACELLE_PORT_8000_TCP_PORT": "8000",
    "NACELLE_PORT_8000_TCP_ADDR": "10.3.2.1",
    "NACELLE_API_SERVICE_HOST": "10.3.2.2",
    "NACELLE_API_PORT": "udp://10.3.2.2:53",
    "NACELLE_API_PORT_53_UDP_ADDR": "10.3.2.2",
}


def notes_of(environ: dict[str, str]) -> list[Note]:
    settings, notes = load_settings(models=["m"], environ=environ)
    assert settings.port == int(environ.get("PORT", 8000))
    return notes


def test_what_kubernetes_sets_for_a_service_is_ignored_with_one_line():
    [note] = notes_of(KUBERNETES)
    assert note.level == logging.INFO
    assert note.text == (
        "ignored NACELLE_PORT=tcp://10.3.2.1:8000 and 10 more: set by Kubernetes for a service; "
        "--port sets the port"
    )
    for name, value in KUBERNETES.items():
        assert notes_of({name: value}), name


def test_a_port_of_the_user_counts_beside_what_kubernetes_sets():
    settings, notes = load_settings(environ=KUBERNETES | {"NACELLE_PORT": "8001"})
    assert settings.port == 8001
    assert len(notes) == 1


def test_what_links_between_containers_set_is_ignored_too():
    environ = {"NACELLE_PORT": "tcp://172.17.0.5:8000", "NACELLE_NAME": "/web/nacelle"}
    settings = loaded(models=["m"], environ=environ)
    assert (settings.port, settings.models[0].name) == (8000, "m")


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("NACELLE_PROT", "NACELLE_PORT"),
        ("NACELLE_LOGLEVEL", "NACELLE_LOG_LEVEL"),
        ("NACELLE_MODEL", "NACELLE_MODELS"),
        ("NACELLE_SOURCE", "NACELLE_MODELS"),
        ("NACELLE_CTX_SIZE", "NACELLE_CONTEXT_LENGTH"),
        ("NACELLE_API_KEYZ", "NACELLE_API_KEY"),
        ("nacelle_port", "NACELLE_PORT"),
        ("NACELLE_CONFG", "NACELLE_CONFIG"),
    ],
)
def test_a_variable_that_resembles_a_setting_is_warned_of(variable, meant):
    assert notes_of({variable: "1"}) == [
        Note(logging.WARNING, f"ignored {variable}, which is not a setting; did you mean {meant}?")
    ]


@pytest.mark.parametrize("variable", ["NACELLE_CONFIG", "NACELLE_HOME_PAGE", "NACELLES", "NACELLE_PROT_"])
def test_other_variables_are_nobodys_business(variable):
    assert notes_of({variable: "" if variable.endswith("_") else "x"}) == []


# --- decisions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_a_loopback_bind_needs_no_key(host):
    assert is_loopback(host)
    check_bind(Settings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org", "localhost.example.org"])
def test_any_other_bind_needs_a_key_or_a_clear_word(host):
    with pytest.raises(ConfigError, match="without an API key"):
        check_bind(Settings(host=host))
    check_bind(Settings(host=host, api_key="k"))
    check_bind(Settings(host=host, allow_unauthenticated=True))


def model(**fields: float) -> ModelSettings:
    return ModelSettings(name="m", source="m", **fields)  # type: ignore[arg-type]


def test_a_stated_kv_cache_is_taken_as_it_is():
    assert kv_cache_bytes(model(kv_cache_gib=0.5), available=0, replicas=9) == GIB // 2


def test_an_automatic_kv_cache_is_a_share_of_the_free_memory():
    assert kv_cache_bytes(model(), available=16 * GIB, replicas=1) == 4 * GIB
    assert kv_cache_bytes(model(), available=16 * GIB, replicas=4) == GIB


def test_an_automatic_kv_cache_has_bounds():
    assert kv_cache_bytes(model(), available=0, replicas=8) == GIB // 4
    assert kv_cache_bytes(model(), available=4096 * GIB, replicas=1) == 16 * GIB
