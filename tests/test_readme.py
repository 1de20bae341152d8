"""README and docs keep up with the code: parameters, settings, metrics, endpoints, commands and links."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import get_type_hints

import click
import pytest
from openai.types import completion_create_params as completions
from openai.types.chat import completion_create_params as chat
from openai.types.responses import response_create_params as responses

from frontend.cli.root import SUBCOMMANDS
from frontend.config import ModelSettings, Settings
from frontend.config_sources import settings_of
from frontend.observability.metrics import Metrics

ROOT = Path(__file__).parent.parent
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (
        ROOT / "README.md",
        ROOT / "ARCHITECTURE.md",
        ROOT / "CHANGELOG.md",
        *(ROOT / "docs").glob("*.md"),
    )
}

# What vLLM's documentation adds to OpenAI's parameters of text endpoints.
VLLM = """
add_generation_prompt add_special_tokens allowed_token_ids bad_words best_of cache_salt chat_template
chat_template_kwargs continue_final_message detokenize documents echo ignore_eos include_reasoning
include_stop_str_in_output kv_transfer_params length_penalty logits_processors min_p min_tokens
mm_processor_kwargs priority prompt_embeds prompt_logprobs repetition_penalty request_id
return_token_ids return_tokens_as_token_ids skip_special_tokens spaces_between_special_tokens stop_token_ids
structured_outputs thinking_token_budget top_k truncate_prompt_tokens use_beam_search vllm_xargs
""".split()


def section(page: str, heading: str) -> str:
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGES[page], re.MULTILINE | re.DOTALL)
    assert found is not None, f"{page} has no section {heading}"
    return found[1]


def first_cells(page: str, heading: str) -> set[str]:
    """The code in the first column of the tables of a section."""
    rows = re.findall(r"^\| ([^|]*) \|", section(page, heading), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


# --- reference tables ---------------------------------------------------------------------------------------


def parameters(*structs: type) -> set[str]:
    return {name for struct in structs for name in get_type_hints(struct)}


@pytest.mark.parametrize(
    "wanted",
    [
        parameters(chat.CompletionCreateParamsNonStreaming, chat.CompletionCreateParamsStreaming),
        parameters(
            completions.CompletionCreateParamsNonStreaming, completions.CompletionCreateParamsStreaming
        ),
        parameters(responses.ResponseCreateParamsNonStreaming, responses.ResponseCreateParamsStreaming),
        set(VLLM),
    ],
    ids=["chat", "completions", "responses", "vllm"],
)
def test_every_parameter_is_in_the_table(wanted):
    named = set(re.findall(r"`([a-z_.]+)`", section("docs/api.md", "Parameters")))
    assert wanted
    assert not wanted - named


def test_every_option_of_a_model_is_in_the_table():
    assert first_cells("docs/models.md", "Options of a model") >= {
        setting.name for setting in settings_of(ModelSettings)
    }


def test_the_settings_of_the_server_are_those_in_the_table():
    assert first_cells("docs/operations.md", "Settings") == set(Settings.__struct_fields__)


def test_every_metric_is_in_the_table():
    metrics = Metrics()
    metrics.of_model("m").of_replica(0).leased_bytes("request")
    served = set(re.findall(r"^# TYPE ([\w:]+) ", metrics.render().decode(), re.MULTILINE))
    assert {"nacelle_requests_total", "vllm:num_requests_running"} <= served
    ours = first_cells("docs/observability.md", "Metrics")
    assert ours | first_cells("docs/observability.md", "Metrics under vLLM's names") == served


def test_every_endpoint_is_in_the_table():
    sources = [path.read_text() for path in (ROOT / "frontend" / "api").rglob("*.py")]
    routes = {route for text in sources for route in re.findall(r'add_route\(\s*"([^"]+)"', text)}
    assert "/v1/chat/completions" in routes
    named = set(re.findall(r"(?<= )/[\w{}/.]*", " ".join(["", *first_cells("docs/api.md", "Endpoints")])))
    routes = {route.replace("{host:path}", "{model}/{replica}").replace(":path}", "}") for route in routes}
    assert not routes - named


# --- commands -----------------------------------------------------------------------------------------------


def shell_lines(page: str) -> Iterator[str]:
    for block in re.findall(r"^```sh\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL):
        yield from block.splitlines()


def printed_commands() -> list[str]:
    """Every `nacelle …` of README and docs, from blocks and from running text."""
    pages = [page for page in PAGES if page.startswith(("README", "docs/"))]
    blocks = [line for page in pages for line in shell_lines(page)]
    inline = [code for page in pages for code in re.findall(r"`(nacelle [^`]+)`", PAGES[page])]
    blocks = [re.sub(r"^(NACELLE_\w+=\S+ )+", "", line) for line in blocks]
    return sorted({line for line in [*blocks, *inline] if line.startswith("nacelle ")})


@pytest.mark.parametrize("line", printed_commands())
def test_every_printed_command_is_understood(line, tmp_path, monkeypatch):
    """Only what the command line itself checks: models and settings files need not exist."""
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line, comments=True)[1:]
    module, _, attribute = SUBCOMMANDS[words[0]].where.partition(":")
    command: click.Command = getattr(import_module(module), attribute)
    words = words[1:]
    while isinstance(command, click.Group) and words:
        found = command.commands[words.pop(0)]
        assert isinstance(found, click.Command)
        command = found
    if words and "--help" not in words:
        command.make_context(line, words)


def test_the_install_step_comes_first_and_makes_the_command_callable():
    lines = list(shell_lines("README.md"))
    first = next(index for index, line in enumerate(lines) if line.startswith("nacelle "))
    assert lines[:first] == ["python3 -m venv .venv", ". .venv/bin/activate", "pip install ."]


def test_the_command_of_the_tests_is_found_as_ci_looks_for_it():
    [block] = re.findall(
        r"^```sh\n(.*?)^```$", section("README.md", "Run the tests"), re.MULTILINE | re.DOTALL
    )
    assert block.endswith("just check\n")


def test_the_settings_file_of_the_docs_holds_nothing_unknown():
    [text] = re.findall(r"^```toml\n(.*?)^```$", PAGES["docs/models.md"], re.MULTILINE | re.DOTALL)
    file = tomllib.loads(text)
    assert file["server"].keys() <= set(Settings.__struct_fields__)
    assert all(
        entry.keys() <= {setting.name for setting in settings_of(ModelSettings)} for entry in file["models"]
    )


# --- links --------------------------------------------------------------------------------------------------


def slugs(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_leads_somewhere(page):
    for target in re.findall(r"\]\((?!\w+:)([^)]+)\)", PAGES[page]):
        path, _, anchor = target.partition("#")
        linked = (ROOT / page).parent / path if path else ROOT / page
        name = str(linked.resolve().relative_to(ROOT))
        assert linked.exists(), f"{page}: {target}"
        assert not anchor or anchor in slugs(PAGES[name]), f"{page}: {target}"


def test_every_page_of_the_docs_is_linked_from_the_readme():
    assert {path for path in PAGES if path.startswith("docs/")} <= set(
        re.findall(r"\]\(([^)#]+)", PAGES["README.md"])
    )
