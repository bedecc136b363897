"""Where e-mail addresses, passwords and keys stand in a text: `redaction` puts marks in their place.

Each function takes a text of plain letters, digits and spaces (`redaction.plain`) and gives spans from left to right.
Passwords are known by the word before them, in the languages that are told apart (`languages`); keys by how those who
issue them begin them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

EMAIL, PHONE, KEY, CARD, IBAN = "<email>", "<phone>", "<key>", "<card>", "<iban>"
MARKS = (EMAIL, PHONE, KEY, CARD, IBAN)
UNMARKED = "".join(f"(?<!{mark})" for mark in MARKS)
START = rf"(?<!\w){UNMARKED}"
Span = tuple[int, int]
Find = Callable[[str], list[Span]]

# ------------------------------------------------------------------------------------------------------------ addresses

_LOGIN = re.compile(r"(?<=://)[^\s/@:<>]{0,128}:[^\s/@<>]{1,256}(?=@)")  # user:password in an address
_HOST = r"(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?!\w)"
_AT = re.compile(rf"@(?:{_HOST}|\[\d[\d.]{{6,14}}\])")
_SPELLED = re.compile(  # anna(at)example.org, anna [at] example [dot] org
    r" ?[\[(] ?at ?[\])] ?(?:[\w-]{1,63}(?: ?[\[(] ?dot ?[\])] ?|\.)){1,8}[^\W\d_]{2,24}(?!\w)", re.IGNORECASE
)
_LOCAL = frozenset(".%+'-_")
_QUOTED = 64  # characters between quotes before an @


def emails(text: str) -> list[Span]:
    """Addresses; quoted names and those with (at) among them."""
    spans: list[Span] = []
    signs = (_AT,) if "@" in text else ()
    for sign in (*signs, _SPELLED):
        done = 0
        for found in sign.finditer(text):
            begin = _begin(text, found.start(), done)
            if begin < found.start():
                done = found.end()
                spans.append((begin, done))
    return apart(spans)


def apart(spans: list[Span]) -> list[Span]:
    """From left to right, without those that overlap an earlier one."""
    kept: list[Span] = []
    for span in sorted(spans):
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
    return kept


def _begin(text: str, end: int, least: int) -> int:
    """Where the name before an @ begins; `end` where there is none."""
    if text[end - 1 : end] == '"':
        quote = text.rfind('"', max(least, end - _QUOTED), end - 1)
        return quote if quote >= 0 and "\n" not in text[quote:end] and "<" not in text[quote:end] else end
    begin = end
    while begin > least and (text[begin - 1].isalnum() or text[begin - 1] in _LOCAL):
        begin -= 1
    return begin


# ----------------------------------------------------------------------------------------------------------------- keys

_PRIVATE = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?s:.*?-----END [A-Z ]{0,40}PRIVATE KEY-----|.*)")
_ISSUED = re.compile(
    START + r"(?:sk-[\w-]{16,}+|(?:sk|pk|rk)_(?:live|test)_\w{10,}+|whsec_\w{16,}+"  # OpenAI and others; Stripe
    r"|gh[pousr]_\w{20,}+|github_pat_\w{20,}+|glpat-[\w-]{16,}+"  # GitHub, GitLab
    r"|(?:AKIA|ASIA|AROA|AIDA)[0-9A-Z]{16}(?!\w)|AIza[\w-]{30,}+|ya29\.[\w-]{20,}+|GOCSPX-[\w-]{20,}+"  # Amazon, Google
    r"|xox[abeoprs]-[\w-]{10,}+|hf_\w{20,}+|npm_\w{30,}+|pypi-[\w-]{20,}+"  # Slack, Hugging Face, packages
    r"|do[opr]_v1_[0-9a-f]{32,}+|AGE-SECRET-KEY-1[0-9A-Z]{20,}+|\d{8,10}:[\w-]{35}(?![\w-])"  # DigitalOcean; Telegram
    r"|SG\.[\w-]{16,64}\.[\w-]{16,}+|eyJ[\w-]{8,512}+\.[\w-]{8,}+(?:\.[\w-]{0,}+)?)"  # SendGrid, JSON Web Tokens
)
_ISSUED_HINTS = (
    "sk-", "_live_", "_test_", "whsec_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "AKIA",
    "ASIA", "AROA", "AIDA", "AIza", "ya29.", "GOCSPX-", "xox", "hf_", "npm_", "pypi-", "_v1_", "AGE-SECRET", ":", "SG.",
    "eyJ",
)  # fmt: skip
_HOOK = re.compile(r"(hooks\.slack\.com/(?:services|workflows)/|discord(?:app)?\.com/api/webhooks/)[\w/-]{20,}+")
_BEARER = re.compile(
    r"(?i)(?<!\w)(bearer[ \t]{1,4}|authorization[\"']?[ \t]{0,4}[:=][ \t]{0,4}[\"']?basic[ \t]{1,4})(?:(?<=basic )"
    r"[\w+/=-]{6,}+|[\w.~+/=-]{16,}+)"
)
_CURL = re.compile(r"(?i)(?<!\w)(curl\b[^\r\n<>]{0,200}? (?:-u|--user)[ =]?[\"']?)[^\s:\"'<>]{1,64}:[^\s\"'<>]{1,128}")

# ------------------------------------------------------------------------------------------ what is said to be a secret

_CALLED = (  # a password
    r"passwor[dt]|passwd|passcode|pwd|passphrase|kennwort|wachtwoord|contrase(?:ñ|n\u0303?)a|mot de passe|senha"
    r"|palavra-passe|parola d'ordine|пароль|密码|密碼|口令|パスワード|كلمة المرور|كلمة السر|पासवर्ड"
    r"|পাসও(?:য়|য\u09bc)ার্ড"
)
_OTHER = r"(?:api|access|account|private)[ _-]?key|secret|token"
_IS = r"[\"']?[ \t]{0,4}(?:[:=]|(?:is|es|est|ist|lautet|é|è|это|هي|है|হল|হলো)\b|是|は)[ \t]{0,4}[\"']?"
_SAID = re.compile(rf"(?i)(?:(?:{_OTHER})|({_CALLED})){_IS}")
_QUOTES = re.compile(r"(?<=[\"'])[^\"'<>\r\n()=\\]{6,256}(?=[\"'])")
_RUN = re.compile(r"[^\s\"'<>,;()]*+")
_NO_END = re.compile(rf"\(|{'|'.join(MARKS)}")  # behind what is a call, or touches a mark
_LETTERS = re.compile(  # after a colon, or an = without spaces, a password may be letters alone
    r"(?i)(?:(?<=[^ \t][:=])|(?<=: ))(?!required|optional|incorrect|undefined|password)[a-z]{8,64}+"
    rf"(?![\w(\[.=:<]| =|{'|'.join(MARKS)})"
)
_DIGIT = re.compile(r"\d")
_SOON = 64  # characters from the beginning of a secret within which its first digit stands
_SHORTEST, _SHORTEST_PASSWORD = 8, 5
_PIN = re.compile(r"(?i)(?<!\w)(pin(?: code| number)?[ \t]{0,2}(?:[:=]|is\b)[ \t]{0,3})\d{4,8}(?!\w)")
_WALLET = re.compile(r"(?i)(private[ _-]?key[ \t]{1,4})0x[0-9a-f]{64}(?!\w)")
_NAMES = (
    "key", "secret", "token", "passw", "passcode", "pwd", "passphrase", "kennwort", "wachtwoord", "contrase",
    "mot de passe", "senha", "palavra-passe", "parola", "пароль", "密码", "密碼", "口令", "パスワード", "كلمة",
    "पासवर्ड", "পাসও",
)  # fmt: skip


def logins(text: str) -> list[Span]:
    """Names and passwords in addresses, and private keys."""
    spans = [*_all(_LOGIN, text)] if "://" in text else []
    return apart([*spans, *_all(_PRIVATE, text)]) if "-----BEGIN " in text else spans


def issued(text: str) -> list[Span]:
    """Keys that show what they are."""
    return [*_all(_ISSUED, text)] if any(map(text.__contains__, _ISSUED_HINTS)) else []


def sent(text: str) -> list[Span]:
    """What a request proves itself with."""
    low, spans = text.lower(), []
    hints = ((("hooks.slack", "/webhooks/"), _HOOK), (("bearer", "basic"), _BEARER), (("curl",), _CURL))
    for words, pattern in hints:
        if any(map(low.__contains__, words)):
            spans += [*_all(pattern, text)]
    return apart(spans)


def named(text: str) -> list[Span]:
    """What stands behind a word for a password or a key."""
    low, spans = text.lower(), []
    if any(map(low.__contains__, _NAMES)):
        spans = [*_secrets(text), *_all(_WALLET, text)]
    if "pin" in low:
        spans += [*_all(_PIN, text)]
    return apart(spans)


def _secrets(text: str) -> list[Span]:
    """What is assigned to such a word: in quotes, or holding a digit; a password may be shorter, or letters alone.

    Where the next digit stands, and where characters of secrets end, is found once for all words before it: a text of
    nothing but such words is read once as well."""
    spans, digit, run = [], -1, -1
    for found in _SAID.finditer(text):
        begin = found.end()
        if digit < begin:
            digit = next((each.start() for each in _DIGIT.finditer(text, begin)), len(text))
        if run < begin:
            run = _end_of_run(text, begin)
        password = found[1] is not None
        least = _SHORTEST_PASSWORD if password else _SHORTEST
        if quoted := _QUOTES.match(text, begin):
            spans.append((begin, quoted.end()))
        elif run - begin >= least and digit < min(run, begin + _SOON) and not _NO_END.match(text, run):
            spans.append((begin, run))
        elif password and (letters := _LETTERS.match(text, begin)):
            spans.append((begin, letters.end()))
    return apart(spans)


def _end_of_run(text: str, begin: int) -> int:
    """Where the characters that a secret may have, without quotes, end."""
    found = _RUN.match(text, begin)
    return found.end() if found else begin


def _all(pattern: re.Pattern[str], text: str) -> Iterator[Span]:
    """All that it matches, without what its group holds."""
    return ((found.end(1) if found.lastindex else found.start(), found.end()) for found in pattern.finditer(text))
