"""The chat templates of a model folder, wherever Hugging Face and OpenVINO keep them.

Most models have one. Some have several named ones: `default`, and `tool_use` for turns with tools.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from ipc.model_files import MAX_DOCUMENT_BYTES, MAX_TEMPLATE_BYTES, FileFault, read_file, read_text

DEFAULT, TOOL_USE = "default", "tool_use"
_FILE = "chat_template.jinja"
_FURTHER = "additional_chat_templates"  # a folder of files named as the templates are
_DOCUMENTS = ("tokenizer_config.json", "chat_template.json", "processor_config.json")
_IR = "openvino_tokenizer.xml"
_RT_INFO = re.compile(rb".*(<rt_info>.*</rt_info>)", re.DOTALL)  # the last one is the model's
_BOM = "\ufeff"


class ChatTemplates(NamedTuple):
    """Jinja sources; empty for those that the model does not have."""

    default: str = ""
    tool_use: str = ""  # for turns with tools, in place of the default


def find_templates(folder: Path) -> ChatTemplates:
    """Raises FileFault for a file that cannot be read, is not valid, or holds too long a template."""
    for named in _sources(folder):
        sources = {name: template.removeprefix(_BOM) for name, template in named.items() if template.strip()}
        if not sources:
            continue
        longest = max(map(len, sources.values()))
        if longest > MAX_TEMPLATE_BYTES:
            raise FileFault(
                f"the chat template in the JSON files of {folder} has {longest} characters, "
                f"at most {MAX_TEMPLATE_BYTES}"
            )
        default = sources.get(DEFAULT) or next(iter(sources.values()))
        tool_use = sources.get(TOOL_USE, "")
        return ChatTemplates(default, "" if tool_use == default else tool_use)
    return ChatTemplates()


def _sources(folder: Path) -> Iterator[dict[str, str]]:
    """Name → template, by the places where templates are kept. The first that holds any counts."""
    further = {
        file.stem: read_text(file, MAX_TEMPLATE_BYTES) for file in sorted((folder / _FURTHER).glob("*.jinja"))
    }
    if (folder / _FILE).exists():
        yield further | {DEFAULT: read_text(folder / _FILE, MAX_TEMPLATE_BYTES)}
    for name in _DOCUMENTS:
        named = _named(_document(folder / name).get("chat_template"))
        if named:
            yield further | named
    yield further | _of_ir(folder / _IR)


def _named(value: object) -> dict[str, str]:
    """From a template alone, a list of {"name": …, "template": …}, or an object of them."""
    if isinstance(value, str):
        return {DEFAULT: value}
    if isinstance(value, list):
        entries = [(entry.get("name"), entry.get("template")) for entry in value if isinstance(entry, dict)]
    else:
        entries = list(value.items()) if isinstance(value, dict) else []
    return {str(name): template for name, template in entries if isinstance(template, str)}


def _document(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    try:
        found = json.loads(read_text(file, MAX_DOCUMENT_BYTES).removeprefix(_BOM))
    except (ValueError, RecursionError) as error:
        raise FileFault(f"{file} is not valid JSON: {error}") from error
    return found if isinstance(found, dict) else {}


def _of_ir(file: Path) -> dict[str, str]:
    """Named templates that OpenVINO's converter wrote. One alone is read by the engine."""
    if not file.exists() or file.stat().st_size > MAX_DOCUMENT_BYTES:
        return {}
    found = _RT_INFO.fullmatch(read_file(file, MAX_DOCUMENT_BYTES).rpartition(b"</net>")[0].rstrip())
    if found is None:
        return {}
    try:
        info = ElementTree.fromstring(found[1])  # noqa: S314 - a fragment declares no entities
    except ElementTree.ParseError:
        return {}
    named: dict[str, str] = {}
    for element in [*info.iterfind("chat_template"), *info.iterfind("chat_templates")]:
        named |= {template.tag: template.get("value", "") for template in element}
        if not len(element) and (value := element.get("value", "")).startswith("["):
            named |= _of_list(value)
    return named


def _of_list(value: str) -> dict[str, str]:
    try:
        return _named(json.loads(value))
    except (ValueError, RecursionError):
        return {}
