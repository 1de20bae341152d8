"""Texts that a tokenizer is likely to get wrong, made up by rule: the same ones each time.

They are in many scripts, and full of what pre-tokenizers and normalizers treat in a way of their own: digits,
contractions, white space, emoji, code, special tokens, decomposed and rare characters.
"""

import unicodedata
from collections.abc import Callable, Sequence
from random import Random

_SCRIPTS = {
    "Latin": (0x41, 0x5A),
    "latin": (0x61, 0x7A),
    "Latin-1": (0xC0, 0xFF),
    "Latin Extended-A": (0x100, 0x17F),
    "Latin Extended-B": (0x180, 0x24F),
    "IPA": (0x250, 0x2AF),
    "Greek": (0x370, 0x3FF),
    "Cyrillic": (0x400, 0x4FF),
    "Armenian": (0x530, 0x58F),
    "Hebrew": (0x590, 0x5F4),
    "Arabic": (0x600, 0x6FF),
    "Syriac": (0x700, 0x74F),
    "Devanagari": (0x900, 0x97F),
    "Bengali": (0x980, 0x9FF),
    "Gurmukhi": (0xA00, 0xA7F),
    "Gujarati": (0xA80, 0xAFF),
    "Tamil": (0xB80, 0xBFF),
    "Telugu": (0xC00, 0xC7F),
    "Kannada": (0xC80, 0xCFF),
    "Malayalam": (0xD00, 0xD7F),
    "Sinhala": (0xD80, 0xDFF),
    "Thai": (0xE00, 0xE7F),
    "Lao": (0xE80, 0xEFF),
    "Tibetan": (0xF00, 0xFFF),
    "Myanmar": (0x1000, 0x109F),
    "Georgian": (0x10A0, 0x10FF),
    "Hangul Jamo": (0x1100, 0x11FF),
    "Ethiopic": (0x1200, 0x137F),
    "Cherokee": (0x13A0, 0x13FF),
    "Khmer": (0x1780, 0x17FF),
    "Mongolian": (0x1800, 0x18AF),
    "Latin Additional": (0x1E00, 0x1EFF),
    "Greek Extended": (0x1F00, 0x1FFF),
    "Hiragana": (0x3040, 0x309F),
    "Katakana": (0x30A0, 0x30FF),
    "Bopomofo": (0x3100, 0x312F),
    "CJK": (0x4E00, 0x9FFF),
    "CJK Extension A": (0x3400, 0x4DBF),
    "CJK Extension B": (0x20000, 0x2A6DD),
    "CJK Compatibility": (0xF900, 0xFAFF),
    "Hangul": (0xAC00, 0xD7A3),
    "Arabic Forms": (0xFE70, 0xFEFC),
    "Full width": (0xFF01, 0xFFEE),
    "Gothic": (0x10330, 0x1034A),
    "Deseret": (0x10400, 0x1044F),
    "Mathematical": (0x1D400, 0x1D7FF),
}
_SENTENCES = (
    "The quick brown fox doesn't jump over 13 lazy dogs.",
    "Chúng tôi đã điều chỉnh việc này rất nhiều lần, hiểu biết thêm về người Việt.",
    "Bugün hava çok güzeldi, çocuklar bahçede oynuyorlardı; geldiğini bilmiyordum.",
    "Він розвиває практику навіть тоді, коли характер завдання змінюється.",
    "Wörter wie Straßenbahnhaltestelle und Übergrößenträger sind lang.",
    "L'été, j'aime m'asseoir près d'un chêne où qu'il soit.",
    "Ñandú, pingüino y cigüeña: ¿quién llegó antes?",
    "Źdźbło trawy, gżegżółka i chrząszcz w Szczebrzeszynie.",
    "今天我们在图书馆读了三本书,明天还要去博物馆。",
    "昨日は東京タワーへ行きました。とても高かったです!",
    "오늘은 날씨가 맑아서 한강에서 자전거를 탔습니다.",
    "ذهبت إلى السوق واشتريت خبزًا وتفاحًا بثلاثة دنانير.",
    "קניתי לחם וחלב בשוק, ואז חזרתי הביתה.",
    "आज मैंने बाज़ार से फल और सब्ज़ियाँ ख़रीदीं।",
    "วันนี้ฉันไปตลาดแล้วซื้อผลไม้หลายอย่าง",
    "நான் இன்று காலையில் பூங்காவில் நடந்தேன்.",
    "Σήμερα διαβάσαμε τρία βιβλία στη βιβλιοθήκη.",
    "დღეს ბიბლიოთეკაში სამი წიგნი წავიკითხეთ.",
)
_NUMBERS = [
    "0",
    "7",
    "42",
    "007",
    "1234",
    "1,234.5",
    "2024-12-31",
    "3.14159265",
    "1e-9",
    "0x1F",
    "½",
    "²³",
    "Ⅻ",
    "٣٤٥",
    "१२३४",
    "①②",
    "１２３",
    "12345678901234567890",
    "$1,000,000",
    "99%",
    "10:45",
]
_SUFFIXES = ("s", "t", "re", "ve", "m", "ll", "d", "x", "ſ", "clock", "")
_WHITE = [" ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", "\r", "\v", "\f", "\x1c", "\x1f"]
_WHITE += [
    "\x85",
    "\xa0",
    "\u1680",
    "\u180e",
    "\u2009",
    "\u200b",
    "\u2028",
    "\u2029",
    "\u202f",
    "\u3000",
    "\ufeff",
]
_EMOJI = (
    "😀",
    "👍\U0001f3fd",
    "👨\u200d👩\u200d👧\u200d👦",
    "🏳\ufe0f\u200d🌈",
    "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7",
    "❤\ufe0f",
    "1\ufe0f\u20e3",
    "🤷\u200d♀\ufe0f",
    "☂",
)
_CODE = (
    "def f(x: int) -> int:\n    return x**2 if x != 0 else -1\n",
    "for (int i = 0; i < n; ++i) {\n\t\tsum += a[i] * b[i];\n\t}\n",
    "SELECT * FROM t WHERE id IN (1,2,3) AND name LIKE '%x%';",
    "curl -X POST http://localhost:8000/v1/chat -d '{\"a\": [1, 2.50, null]}'",
    '<div class="a-b_c">&nbsp;</div><!-- x -->\r\n',
    '#include <stdio.h>\n\n\n/* === */\nint main(void){puts("\\n");}',
    "$x^{2}_{i} \\frac{a}{b} \\leq \\sum_{k=1}^{\\infty} k^{-2}$",
    "C:\\Users\\me\\a.txt && ls -la ~/.ssh | grep '^-rw' >> /dev/null 2>&1",
)
_SYMBOLS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~¡¿«»„“”‘’–—…‰€£¥§¶†‡•·°±×÷≠≤∞∑√→⇒∀∃"
_ODD = ["\x00", "\x01", "\x7f", "\ufffd", "\ufffe", "\uffff", "\ue000", "\U000f0000", "\U0010fffd"]
_ODD += ["\u200d", "\u200e", "\u2060", "\u034f", "\U000e0041", "\u00ad", "▁", "<0x0A>", "Ġ", "Ċ", "a", " "]
_COMPOSING = ["e\u0301", "A\u030a", "\u212b", "\u1100\u1161\u11a8", "\u0958", "q\u0307\u0323", "\u0344"]
_COMPOSING += [
    "\u1e9b\u0323",
    "\uf900",
    "\u2126",
    "o\u0328\u0304",
    "\u0915\u093c",
    "\ufb01",
    "\u0387",
    "x",
    " ",
]
# Combining marks that Hugging Face's normalizer takes for plain characters: they are newer than its tables.
_NEWER = {0x9FE, 0xC3C, 0xD3B, 0xD3C, 0xEBA}


def corpus(special_tokens: Sequence[str], count: int = 500) -> list[str]:
    """`special_tokens` are the tokenizer's own: they appear whole, cut, and in a row."""
    random = Random(1)
    makers: list[Callable[[Random], str]] = [
        *[lambda random, run=run: _words(random, run) for run in _SCRIPTS.values()],
        *[lambda random, text=text: _altered(random, text) for text in _SENTENCES],
        *[lambda random, code=code: _altered(random, code) for code in _CODE],
        _numbers,
        _contractions,
        _blanks,
        _symbols,
        lambda random: "".join(random.choices((*_EMOJI, *_ODD), k=8)),
        lambda random: "".join(random.choices(_COMPOSING, k=10)),
        lambda random: _around(random, special_tokens),
    ]
    texts = [maker(random) for maker in makers]
    texts += [_mixture(random, makers) for _ in range(count - len(texts))]
    return texts[:count]


def _words(random: Random, run: tuple[int, int]) -> str:
    codes = (code for code in range(run[0], run[1] + 1) if code not in _NEWER)
    letters = [chr(code) for code in codes if unicodedata.category(chr(code)) != "Cn"]
    words = ("".join(random.choices(letters, k=random.randint(1, 9))) for _ in range(12))
    return "".join(word + random.choice((" ", " ", ", ", ".\n", "-", "'")) for word in words)


def _altered(random: Random, text: str) -> str:
    """As it is, in capitals, decomposed, or with its spaces doubled."""
    change: Callable[[str], str] = random.choice(
        (str, str, str.upper, str.title, lambda text: unicodedata.normalize("NFD", text), _with_wide_spaces)
    )
    return change(text)


def _with_wide_spaces(text: str) -> str:
    return text.replace(" ", "  ")


def _numbers(random: Random) -> str:
    return "".join(random.choice(_NUMBERS) + random.choice((" ", "", "a", "\n", ".")) for _ in range(12))


def _contractions(random: Random) -> str:
    parts = []
    for _ in range(12):
        suffix = random.choice(_SUFFIXES)
        suffix = suffix.upper() if random.random() < 0.3 and suffix != "ſ" else suffix
        parts.append(random.choice(("I", "don", "we", "L", "", "é")) + random.choice("''’") + suffix)
    return random.choice((" ", "", "\n")).join(parts)


def _blanks(random: Random) -> str:
    parts = []
    for _ in range(10):
        parts.append("".join(random.choices(_WHITE, k=random.randint(1, 5))))
        parts.append(random.choice(("a", "B2", "..", "\n", "é", "字", "9", "")))
    return "".join(parts)


def _symbols(random: Random) -> str:
    return "".join(
        "".join(random.choices(_SYMBOLS, k=random.randint(1, 6)))
        + random.choice((" ", "a", "\n", "\r\n", "7"))
        for _ in range(10)
    )


def _around(random: Random, special_tokens: Sequence[str]) -> str:
    parts = []
    for token in random.choices(special_tokens, k=6):
        parts.append(random.choice((token, token, token + token, token[:-1], token[1:], token.upper())))
        parts.append(random.choice(("", " ", "\n\n", "user", " x ", "▁", "é")))
    return "".join(parts)


def _mixture(random: Random, makers: Sequence[Callable[[Random], str]]) -> str:
    return random.choice(("", " ", "\n")).join(
        maker(random) for maker in random.choices(makers, k=random.randint(1, 4))
    )
