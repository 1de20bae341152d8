"""Chat templates are found wherever Hugging Face and OpenVINO keep them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ipc.chat_templates import ChatTemplates, find_templates
from ipc.model_files import MAX_TEMPLATE_BYTES, FileFault

LISTED = [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T"}]
BOTH = ChatTemplates("D", "T")
_IR = "<net><layers><layer><rt_info><attribute/></rt_info></layer></layers>{info}</net>\n"


def jinja(folder: Path, default: str | None = "D", tool_use: str | None = "T") -> None:
    if default is not None:
        (folder / "chat_template.jinja").write_text(default)
    if tool_use is not None:
        (folder / "additional_chat_templates").mkdir()
        (folder / "additional_chat_templates" / "tool_use.jinja").write_text(tool_use)


def document(name: str, template: object) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(json.dumps({"chat_template": template}))


def ir(info: str) -> Callable[[Path], object]:
    text = _IR.format(info=f"<rt_info><bos_token_id value='1'/>{info}</rt_info>")
    return lambda folder: (folder / "openvino_tokenizer.xml").write_text(text)


PLACES: dict[str, Callable[[Path], object]] = {
    "files": jinja,
    "list": document("tokenizer_config.json", LISTED),
    "object": document("tokenizer_config.json", {"default": "D", "tool_use": "T"}),
    "processor": document("chat_template.json", LISTED),
    "ir": ir("<chat_template><default value='D'/><tool_use value='T'/></chat_template>"),
    "ir, plural": ir("<chat_templates><default value='D'/><tool_use value='T'/></chat_templates>"),
    "ir, list": ir(f"<chat_template value='{json.dumps(LISTED)}'/>"),
}


@pytest.mark.parametrize("place", PLACES)
def test_named_templates_are_found(place: str, tmp_path: Path) -> None:
    PLACES[place](tmp_path)
    assert find_templates(tmp_path) == BOTH


def test_a_template_alone_is_for_all_turns(tmp_path: Path) -> None:
    document("tokenizer_config.json", "D")(tmp_path)
    assert find_templates(tmp_path) == ChatTemplates("D", "")


def test_a_template_in_the_ir_alone_is_left_to_the_engine(tmp_path: Path) -> None:
    ir("<chat_template value='D'/>")(tmp_path)
    assert find_templates(tmp_path) == ChatTemplates()


def test_a_template_of_another_name_alone_is_the_default(tmp_path: Path) -> None:
    document("tokenizer_config.json", [{"name": "rag", "template": "R"}, {"name": 1}, "x"])(tmp_path)
    assert find_templates(tmp_path) == ChatTemplates("R", "")


def test_files_replace_what_the_documents_hold(tmp_path: Path) -> None:
    document("tokenizer_config.json", [{"name": "default", "template": "old"}, *LISTED[1:]])(tmp_path)
    jinja(tmp_path, "new", None)
    assert find_templates(tmp_path) == ChatTemplates("new", "")


def test_a_file_for_tools_goes_with_a_default_from_a_document(tmp_path: Path) -> None:
    document("tokenizer_config.json", "D")(tmp_path)
    jinja(tmp_path, None, "T")
    assert find_templates(tmp_path) == BOTH


def test_a_byte_order_mark_is_no_part_of_a_template(tmp_path: Path) -> None:
    jinja(tmp_path, "\ufeffD", "\ufeffT")
    assert find_templates(tmp_path) == BOTH


@pytest.mark.parametrize("named", [[], {}, 1, None, "", " ", [{"name": "default"}], {"default": 1}])
def test_what_is_no_template_is_none(named: object, tmp_path: Path) -> None:
    document("tokenizer_config.json", named)(tmp_path)
    assert find_templates(tmp_path) == ChatTemplates()


def test_a_damaged_ir_has_none(tmp_path: Path) -> None:
    (tmp_path / "openvino_tokenizer.xml").write_text("<net><rt_info><a></rt_info></net>")
    assert find_templates(tmp_path) == ChatTemplates()


def test_too_long_a_template_is_an_error(tmp_path: Path) -> None:
    long = "x" * (MAX_TEMPLATE_BYTES + 1)
    document("tokenizer_config.json", [LISTED[0], {"name": "tool_use", "template": long}])(tmp_path)
    with pytest.raises(FileFault, match="chat template"):
        find_templates(tmp_path)
