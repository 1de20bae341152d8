"""English abbreviations and addresses on the web."""

import re

_TITLES = {
    "Dr": "Doctor",
    "Mr": "Mister",
    "Mrs": "Missus",
    "Ms": "Miz",
    "Prof": "Professor",
    "Gen": "General",
    "Sen": "Senator",
    "Rep": "Representative",
    "Gov": "Governor",
    "Capt": "Captain",
    "Lt": "Lieutenant",
    "Sgt": "Sergeant",
    "Col": "Colonel",
    "Rev": "Reverend",
    "Hon": "Honorable",
    "Mt": "Mount",
    "Ft": "Fort",
}
_BEFORE_NUMBERS = {
    "No": "Number",
    "no": "number",
    "Nos": "Numbers",
    "Fig": "Figure",
    "fig": "figure",
    "Vol": "Volume",
    "vol": "volume",
    "Ch": "Chapter",
    "ch": "chapter",
    "Sec": "Section",
    "sec": "section",
    "Eq": "Equation",
    "Art": "Article",
    "p": "page",
    "pp": "pages",
    "Jan": "January",
    "Feb": "February",
    "Mar": "March",
    "Apr": "April",
    "Jun": "June",
    "Jul": "July",
    "Aug": "August",
    "Sep": "September",
    "Sept": "September",
    "Oct": "October",
    "Nov": "November",
    "Dec": "December",
}
# A sentence may end with these: the full stop is kept before a capital letter and at the end.
_ANYWHERE = {
    "e.g": "for example",
    "i.e": "that is",
    "etc": "et cetera",
    "vs": "versus",
    "approx": "approximately",
    "dept": "department",
    "Dept": "Department",
    "est": "established",
    "incl": "including",
    "cf": "compare",
    "a.k.a": "also known as",
    "Jr": "Junior",
    "Sr": "Senior",
    "Inc": "Incorporated",
    "Ltd": "Limited",
    "Corp": "Corporation",
    "Co": "Company",
    "Bros": "Brothers",
    "Ave": "Avenue",
    "Blvd": "Boulevard",
    "Rd": "Road",
    "a.m": "AM",
    "p.m": "PM",
    "A.M": "AM",
    "P.M": "PM",
    "U.S": "US",
    "U.S.A": "USA",
    "U.K": "UK",
    "E.U": "EU",
    "U.N": "UN",
    "D.C": "DC",
    "Ph.D": "PhD",
}
_NEVER_FINAL = frozenset(("e.g", "i.e", "vs", "approx", "incl", "cf"))

_TITLE = re.compile(rf"\b({'|'.join(_TITLES)})\.(?=\s*+[A-Z])")
_BEFORE_NUMBER = re.compile(rf"\b({'|'.join(_BEFORE_NUMBERS)})\.?\s?(?=\d)")
_ABBREVIATION = re.compile(
    rf"(?<![\w.])({'|'.join(re.escape(a) for a in sorted(_ANYWHERE, key=len, reverse=True))})\.(?!\w)"
    r"(?=(\s*+$|\s++[\"'(]?[A-Z])?)"
)
_SAINT = re.compile(r"\bSt\.\s?(?=[A-Z])")
_STREET = re.compile(r"(?<=[a-z] )St\.(?=(\s*+$|\s++[A-Z])?)")
_WITH = re.compile(r"\b[wW]/(o\b)?(?=[\s\w])")

_DOMAIN = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}+)\.){1,8}[A-Za-z]{2,24}"
_EMAIL = re.compile(
    r"(?<![\w.+-])(?:mailto:)?([\w.+-]{1,64}+)@([A-Za-z0-9-]{1,63}+(?:\.[A-Za-z0-9-]{1,63}+){1,8}+)"
)
_URL = re.compile(
    r"(?i)\b(?:https?|ftp|wss?)://(?:www\.)?([^\s<>\"'()]{1,2000}+)|\bwww\.([^\s<>\"'()]{1,2000}+)"
)
_BARE = re.compile(
    r"(?<![\w.@/-])((?:[A-Za-z0-9-]{1,63}+\.){1,6})(com|org|net|io|dev|ai|gov|edu|co|uk|de|eu|info|app|me)\b"
    r"((?:/[^\s<>\"'(),;]{0,500}+)?)(?![\w-])"
)


def speak_addresses(line: str) -> str:
    """E-mail addresses and URLs; of a URL the host and the path."""
    if "@" in line:
        line = _EMAIL.sub(lambda m: f"{_parts(m[1])} at {_parts(m[2])}", line)
    if "." in line:
        line = _URL.sub(lambda m: _url(m[1] or m[2]), line)
        line = _BARE.sub(lambda m: _url(m[1] + m[2] + m[3]), line)
    elif "://" in line:
        line = _URL.sub(lambda m: _url(m[1] or m[2]), line)
    return line


def _url(address: str) -> str:
    shown = address.rstrip(".,;:!?*_")
    after = address[len(shown) :]
    host, *path = re.split(r"[?#]", shown, maxsplit=1)[0].rstrip("/").split("/")
    return " slash ".join([_parts(host), *(_parts(part) for part in path)]) + after


def _parts(address: str) -> str:
    address = address.replace("-", " dash ").replace("_", " underscore ").replace("+", " plus ")
    return address.replace(".", " dot ").replace(":", " colon ").replace("%", " ")


def speak_abbreviations(line: str) -> str:
    if "/" in line:
        line = _WITH.sub(lambda m: "without" if m[1] else "with ", line)
    if "." not in line:
        return _BEFORE_NUMBER.sub(_before_number, line)
    line = _TITLE.sub(lambda m: f"{_TITLES[m[1]]}", line)
    line = _STREET.sub(lambda m: "Street." if m[1] is not None else "Street", line)
    line = _SAINT.sub("Saint ", line)
    line = _BEFORE_NUMBER.sub(_before_number, line)
    return _ABBREVIATION.sub(_abbreviation, line)


def _before_number(found: re.Match[str]) -> str:
    name = found[1]
    dotless = "." not in found[0]
    if dotless and not (name[0].isupper() and len(name) >= 3):
        return found[0]  # "no 5", "p 5": words of their own
    return f"{_BEFORE_NUMBERS[name]} "


def _abbreviation(found: re.Match[str]) -> str:
    ends = found[2] is not None and found[1] not in _NEVER_FINAL
    return _ANYWHERE[found[1]] + ("." if ends else "")
