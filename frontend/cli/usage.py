"""Explains a wrong command line: what is wrong, and what to write instead."""

import re
from collections import Counter

import click

from frontend.shortened import VALUE_CHARACTERS, shortened

EXIT_STATUS = (
    "Exit status: 0 after success or a shutdown; 1 if something failed, for example no model could be "
    "loaded; 2 for a wrong command line, variable or settings file; 130 or 143 if interrupted by SIGINT or "
    "SIGTERM."
)

# Keys of a context's meta.
WORDS = "nacelle.words"  # of the command line
_COMMAND = "nacelle.command"  # the words of it that name the command

_BESIDE_SERVE = {"run", "pull", "load", "launch", "ps"}  # to which options of a server are given by mistake

_HUB_OPTIONS = {"-hf", "-hfr", "--hf-repo"}  # of llama-server
_REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}(:[\w.-]{1,96})?")

_LONG = re.compile(rf"(?<=')[^']{{{VALUE_CHARACTERS + 1},}}|\S{{{VALUE_CHARACTERS + 10},}}")


class WrongUsage(click.ClickException):
    """A wrong command line, variable or settings file. The message ends with what to do."""

    exit_code = 2


def remember_words(ctx: click.Context, words: list[str]) -> None:
    """Keep the words of the command line, from which errors quote."""
    ctx.meta[WORDS] = list(words)


def refuse_repeated(command: click.Command, words: list[str], parent: click.Context) -> None:
    """Raise WrongUsage if an option that has one value is given twice: nobody can mean both."""
    # Resilient: what cannot be parsed is reported when the command itself is parsed.
    ctx = click.Context(command, info_name=command.name, parent=parent, resilient_parsing=True)
    ctx.meta[_COMMAND] = ctx.command_path
    if isinstance(command, click.Group):
        found = command.get_command(ctx, words[0]) if words else None
        if found is not None:
            refuse_repeated(found, words[1:], ctx)
        return
    _, _, order = command.make_parser(ctx).parse_args(list(words))
    for parameter, count in Counter(order).items():
        if count > 1 and isinstance(parameter, click.Option) and not (parameter.multiple or parameter.count):
            raise WrongUsage(f"{_name_of(parameter)} is given {count} times; give it once")


def _name_of(option: click.Option) -> str:
    return "/".join([*option.opts[:1], *option.secondary_opts[:1]])


def explain(error: click.UsageError, ctx: click.Context | None = None) -> click.UsageError | WrongUsage:
    """The same error in one or two lines. `ctx` is any context of the command line."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error  # shows the help
    if isinstance(error, click.NoSuchOption):
        return WrongUsage(_unknown_option(error))
    message = _LONG.sub(lambda long: shortened(long[0], VALUE_CHARACTERS), error.format_message().rstrip("."))
    command = error.ctx.command_path if error.ctx else ctx.meta.get(_COMMAND, "nacelle") if ctx else "nacelle"
    return WrongUsage(f"{message[:1].lower()}{message[1:]}\nTry: {command} --help")


def _unknown_option(error: click.NoSuchOption) -> str:
    from frontend.config_names import guess  # what follows is needed only here

    ctx = error.ctx
    word = _as_written(error.option_name, ctx)
    shown = shortened(word, VALUE_CHARACTERS)
    command = ctx.command_path if ctx else "nacelle"
    options = _options(ctx)
    meant = guess(word, options.keys() | _arguments(ctx))
    if meant.reason:
        return f"no option {shown}; {meant.reason}"
    if meant.needless:
        return f"no option {shown}; it is not needed here, leave it out"
    if meant.setting == "models" and (repository := _repository_after(word, ctx)):
        return f"no option {shown}; write nacelle pull {repository}, then {command} {repository}"
    if meant.setting == "models":
        return f"no option {shown}; write the model without one: {command} MODEL"
    if meant.setting == "prompt":
        return f"no option {shown}; write the prompt without one: {command} MODEL PROMPT"
    if meant.setting:
        return f"no option {shown}; did you mean {_instead(word, options[meant.setting])}?"
    if ctx is not None and (ours := _of_serve(word, ctx)):
        return f"no option {shown}; {ours}"
    return f"no option {shown}; see {command} --help"


def _repository_after(word: str, ctx: click.Context | None) -> str:
    """ORG/NAME that follows an option of llama-server; empty unless it does, and must be pulled first."""
    words = ctx.meta.get(WORDS, []) if ctx else []
    if ctx is None or ctx.command.name != "serve" or word not in _HUB_OPTIONS or word not in words[:-1]:
        return ""
    following = words[words.index(word) + 1]
    return following if _REPOSITORY.fullmatch(following) else ""


def _arguments(ctx: click.Context | None) -> set[str]:
    """Those that others pass as options, by the names that may be guessed."""
    arguments = [one.name for one in ctx.command.params if isinstance(one, click.Argument)] if ctx else []
    return ({"models"} if arguments else set()) | ({"prompt"} & set(arguments))


def _of_serve(word: str, ctx: click.Context) -> str:
    """Where to write an option of `nacelle serve` that was given to another command; empty if it is none."""
    if ctx.parent is not None and ctx.command.name not in _BESIDE_SERVE:
        return ""
    from frontend.config import ModelSettings, Settings
    from frontend.config_names import guess
    from frontend.config_sources import settings_of

    settings = {one.name: one for struct in (Settings, ModelSettings) for one in settings_of(struct)}
    meant = guess(word, settings).setting
    if meant in ("models", "source"):
        return "write nacelle serve MODEL, or nacelle run MODEL to chat"
    return f"the server has one: nacelle serve MODEL {settings[meant].option}" if meant else ""


def _options(ctx: click.Context | None) -> dict[str, click.Option]:
    """By the names that may be guessed: a setting's, or that of the option itself."""
    if ctx is None:
        return {}
    options = [parameter for parameter in ctx.command.get_params(ctx) if isinstance(parameter, click.Option)]
    by_option = {option.opts[0].strip("-").replace("-", "_"): option for option in options}
    return by_option | {option.name: option for option in options if option.name}


def _instead(word: str, option: click.Option) -> str:
    """What to write for `word`, of which `option` is the counterpart."""
    if option.secondary_opts and word.lstrip("-").startswith(("no-", "no_", "disable-", "hide")):
        return option.secondary_opts[0]
    bare = word.strip("-").lower().replace("-", "_")
    if option.name == "generation_defaults" and not bare.startswith("generation_default"):
        key = {"temp": "temperature", "repeat_penalty": "repetition_penalty"}.get(bare, bare)
        key = {"n_predict": "max_tokens", "num_predict": "max_tokens"}.get(key, key)
        return f"{option.opts[0]} {key}=VALUE"
    if option.name == "device" and ("gpu" in bare or bare == "ngl"):
        return f"{option.opts[0]} GPU"
    if option.name == "task":
        return f"{option.opts[0]} {'rerank' if bare.startswith('rerank') else 'embeddings'}"
    return option.opts[0]


def _as_written(option_name: str, ctx: click.Context | None) -> str:
    """The whole word: of an unknown -ngl, the parser reports -n."""
    words = ctx.meta.get(WORDS, []) if ctx else []
    begins = [word for word in words if word.startswith(option_name)]
    clusters = [word for word in words if re.match("-[^-]", word) and option_name[1:] in word]  # -hf
    return next(iter([*begins, *clusters]), option_name).partition("=")[0]
