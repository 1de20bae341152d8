"""The commands of a conversation, and the requests that they lead to."""

import pytest

from frontend.cli.running.conversation import Attachment, Conversation, Parameters, question_of
from frontend.cli.running.editor import completions
from frontend.cli.running.slash import BadCommand, Slash, image_paths, parse_slash, paths_in, set_parameter


def no_file(_: str) -> bool:
    return False


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("/help", Slash("help", "")),
        ("/?", Slash("help", "")),
        ("/exit", Slash("bye", "")),
        ("/BYE ", Slash("bye", "")),
        ("/set system  be brief", Slash("set", "system  be brief")),
        ("/file a b", Slash("file", "a b")),
        ("hello", None),
        ("/etc/passwd is what?", None),
    ],
)
def test_commands_and_messages_are_told_apart(line, expected):
    assert parse_slash(line, no_file) == expected


def test_an_unknown_command_is_refused_with_a_suggestion():
    with pytest.raises(BadCommand, match="did you mean /clear"):
        parse_slash("/claer", no_file)
    with pytest.raises(BadCommand, match="see /help"):
        parse_slash("/frobnicate", no_file)


def test_a_path_that_exists_is_a_message():
    assert parse_slash("/tmp is a folder", lambda path: path == "/tmp") is None


@pytest.mark.parametrize(
    ("argument", "field", "value"),
    [
        ("temperature 0.2", "temperature", 0.2),
        ("parameter temperature 1", "temperature", 1.0),
        ("temp 0", "temperature", 0.0),
        ("num_predict 9", "max_tokens", 9),
        ("seed -1", "seed", -1),
        ('system """You are terse."""', "system", "You are terse."),
        ("system don't panic", "system", "don't panic"),
        ("system", "system", None),
        ("think", "think", True),
        ("nothink", "think", False),
        ("format json", "json_object", True),
    ],
)
def test_set_changes_a_parameter(argument, field, value):
    parameters = Parameters(system="before")
    assert set_parameter(parameters, argument)
    assert getattr(parameters, field) == value


def test_set_without_a_value_returns_to_the_default():
    parameters = Parameters(temperature=0.5)
    assert set_parameter(parameters, "temperature") == "temperature: the default of the model"
    assert parameters.temperature is None


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("temperature hot", "temperature: must be a number from 0 to 2, not 'hot'"),
        ("temperature 3", "temperature: must be a number from 0 to 2, not '3'"),
        ("temperature nan", "must be a number"),
        ("max_tokens 1.5", "max_tokens: must be a whole number"),
        ("temprature 1", "did you mean temperature?"),
        ("", "name a setting, as in /set temperature 0.2; see /help"),
        ("format xml", "write /set format json or /set noformat"),
    ],
)
def test_a_wrong_parameter_is_refused(argument, complaint):
    with pytest.raises(BadCommand) as caught:
        set_parameter(Parameters(), argument)
    assert complaint in str(caught.value)


def test_paths_may_be_quoted_and_may_contain_a_quote():
    assert paths_in('a.txt "b c.txt"') == ["a.txt", "b c.txt"]
    assert paths_in("it's.txt") == ["it's.txt"]
    with pytest.raises(BadCommand, match="name a file"):
        paths_in("")


def test_a_request_holds_system_history_and_parameters():
    conversation = Conversation("m", Parameters(system="Be brief.", temperature=0.0, seed=7, think=False))
    conversation.keep(question_of("one", []), "1")
    body = conversation.body(question_of("two", []))
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "two"},
    ]
    assert (body["temperature"], body["seed"]) == (0.0, 7)
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert "max_tokens" not in body
    assert "top_p" not in body


def test_a_turn_without_an_answer_is_forgotten():
    conversation = Conversation("m", Parameters())
    conversation.keep(question_of("one", []), "")
    assert conversation.messages == []


def test_without_history_each_question_stands_alone():
    conversation = Conversation("m", Parameters())
    conversation.keep_history = False
    conversation.keep(question_of("one", []), "1")
    assert conversation.body(question_of("two", []))["messages"] == [{"role": "user", "content": "two"}]


def test_files_precede_the_question_and_images_are_parts():
    text, image = Attachment("a.txt", text="content"), Attachment("b.png", image="data:image/png;base64,AA")
    assert question_of("What?", [text])["content"] == "a.txt:\n```\ncontent\n```\n\nWhat?"
    parts = question_of("What?", [image, text])["content"]
    assert [part["type"] for part in parts] == ["image_url", "text"]
    assert parts[0]["image_url"] == {"url": "data:image/png;base64,AA"}
    assert parts[1]["text"].endswith("What?")


def test_the_tabulator_completes_commands_settings_and_files(tmp_path):
    (tmp_path / "notes.txt").touch()
    (tmp_path / "new").mkdir()
    assert completions("/he", "/he") == ["/help "]
    assert completions("/set temp", "temp") == ["temperature "]
    start = f"{tmp_path}/n"
    assert completions(f"/file {start}", start) == [f"{tmp_path}/new/", f"{tmp_path}/notes.txt"]
    assert completions("what is", "is") == []


def test_images_in_a_message_are_found_if_they_exist():
    line = r"Compare ./a.png with /x/b\ c.JPG, ~/no.png and plain.png."
    assert image_paths(line, lambda path: "no" not in path) == ["./a.png", "/x/b c.JPG"]
