"""How byte-level vocabularies cut a text into words, by the name that a GGUF file gives its pre-tokenizer.

A word is what merges stay within, so a wrong cut yields tokens that the model has never seen together. The
patterns are those of the models' own tokenizer.json files, for PCRE2.
"""

from typing import NamedTuple

from host.convert.errors import EXPORT, ConversionError

# Unicode's white space. PCRE2's \s includes U+180E, which has not been white space since Unicode 6.3.
_SPACE = r"\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}"
_SUFFIX = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_BLANKS = rf"[{_SPACE}]+(?![^{_SPACE}])|[{_SPACE}]+"  # the last blank before a word belongs to the word
_LINES = rf"[{_SPACE}]*[\r\n]+|{_BLANKS}"
_SYMBOLS = rf" ?[^{_SPACE}\p{{L}}\p{{N}}]+"
_LEAD = r"[^\r\n\p{L}\p{N}]?"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"  # letters that are not lower case, and those without case
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CJK = r"[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+"
_OLD_CJK = r"[\x{4E00}-\x{9FA5}\x{0800}-\x{4E00}\x{AC00}-\x{D7FF}]+"


def _like_gpt4(numbers: str, suffix: str = f"{_SUFFIX}|", letters: str = r"\p{L}") -> str:
    symbols = rf" ?[^{_SPACE}{letters}\p{{N}}]+"
    return rf"{suffix}{_LEAD}[{letters}]+|{numbers}|{symbols}[\r\n]*|{_LINES}"


def _like_gpt4o(numbers: str, suffix: str) -> str:
    """Also cuts where lower case ends and upper case begins."""
    return (
        rf"{_LEAD}{_UPPER}*{_LOWER}+{suffix}|{_LEAD}{_UPPER}+{_LOWER}*{suffix}"
        rf"|{numbers}|{_SYMBOLS}[\r\n/]*|{_LINES}"
    )


_GPT2 = rf"'s|'t|'re|'ve|'m|'ll|'d| ?\p{{L}}+| ?\p{{N}}+|{_SYMBOLS}|{_BLANKS}"
_DEEPSEEK3 = (
    r"\p{N}{1,3}",
    _CJK,
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    rf"| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_LINES}",
)
_DEEPSEEK_LLM = (
    r"[\r\n]",
    rf"[{_SPACE}]?[^\P{{L}}\p{{Lo}}\p{{Lm}}\x{{10D0}}-\x{{10FF}}]+",
    rf"[{_SPACE}]?[!-/:-~\x{{FF01}}-\x{{FF0F}}\x{{FF1A}}-\x{{FF5E}}\x{{2018}}-\x{{201F}}\x{{3000}}-\x{{3002}}]+",
    rf"[{_SPACE}]+$",
    _OLD_CJK,
    r"\p{N}+",
)
_DEEPSEEK_CODER = (
    r"[\r\n]",
    rf"[{_SPACE}]?\p{{L}}+",
    rf"[{_SPACE}]?\p{{P}}+",
    _OLD_CJK,
    r"\p{N}",
)
_BAILING = rf"'(?i:[sdmt]|ll|ve|re)|{_LEAD}\p{{L}}+|\p{{N}}|{_SYMBOLS}[\r\n]*|[{_SPACE}]*[\r\n]|{_BLANKS}"
_SEED = rf"{_SUFFIX}|{_LEAD}\p{{L}}+|\p{{N}}| ?[^{_SPACE}\p{{L}}\p{{N}}\r\n]+|{_LINES}"
_NORDIC = rf" ?[^({_SPACE}|.,!?\x{{2026}}\x{{3002}}\x{{FF0C}}\x{{3001}}\x{{0964}}\x{{06D4}}\x{{060C}})]+"


class PreTokenizer(NamedTuple):
    """`splits` are applied one after the other, each within the pieces of the one before."""

    splits: tuple[str, ...]
    nfc: bool = False  # the text is normalized first
    whole_words: bool = False  # a word that is a token is that token, whatever the merges say
    adds_bos: bool = False  # unless the file says otherwise


_LLAMA3 = PreTokenizer((_like_gpt4(r"\p{N}{1,3}"),), whole_words=True, adds_bos=True)
_QWEN2 = PreTokenizer((_like_gpt4(r"\p{N}"),), nfc=True)
_PLAIN = PreTokenizer((_GPT2,))
_SINGLE_DIGITS = PreTokenizer((r"\p{N}", _GPT2))

_KINDS: dict[PreTokenizer, str] = {
    _LLAMA3: "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
    _LLAMA3._replace(whole_words=False, adds_bos=False): "dbrx smaug-bpe glm4 chatglm-bpe",
    _QWEN2: "qwen2 megrez",
    _QWEN2._replace(nfc=False): "deepseek-r1-qwen kormo f2llmv2 hunyuan solar-open stablelm2 grok-2",
    PreTokenizer((_like_gpt4(r"\p{N}", letters=r"\p{L}\p{M}"),), nfc=True): "qwen35",
    PreTokenizer((_like_gpt4(r"\p{N}", suffix=""),)): "ufakzeka",
    PreTokenizer((r"\p{N}{1,3}", _like_gpt4(r"\p{N}+")), whole_words=True): "minicpm5",
    PreTokenizer((_like_gpt4o(r"\p{N}", ""),), whole_words=True, adds_bos=True): "tekken",
    PreTokenizer((_like_gpt4o(r"\p{N}{1,3}", f"{_SUFFIX}?"),)): "gpt-4o llama4 kanana2 talkie minimax-m2",
    _SINGLE_DIGITS: "smollm starcoder refact command-r codeshell exaone minerva-7b mellum2",
    _PLAIN: "gpt-2 phi-2 mpt olmo jais trillion granite-docling exaone4 gigachat a.x-4.0 mellum",
    PreTokenizer(_DEEPSEEK3): "deepseek-v3 hunyuan-dense joyai-llm hy_v4",
    PreTokenizer(_DEEPSEEK_LLM): "deepseek-llm",
    PreTokenizer(_DEEPSEEK_CODER): "deepseek-coder",
    PreTokenizer((_BAILING,)): "bailingmoe bailingmoe2 llada-moe",
    PreTokenizer((_SEED,)): "seed-coder",
    PreTokenizer((_NORDIC,)): "bloom gpt3-finnish poro-chat",
    PreTokenizer((_NORDIC, r"\p{N}")): "viking",
}
PRE_TOKENIZERS = {name: kind for kind, names in _KINDS.items() for name in names.split()}


def pre_tokenizer(name: str | None) -> PreTokenizer:
    """The one that `tokenizer.ggml.pre` names. Raises ConversionError if it is not known."""
    known = PRE_TOKENIZERS.get(name or "")
    if known is None:
        what = f"its pre-tokenizer {name[:40]!r} is not supported" if name else "it names no pre-tokenizer"
        raise ConversionError(what, "get a GGUF file that a current llama.cpp made" if not name else EXPORT)
    return known
