"""Takes out of a text what should not be kept: addresses, telephone numbers, keys, cards, accounts.

What is looked for (`keys`, `numbers`) is looked for in a copy of the same length, in which digits, spaces, dashes and
signs of other widths and scripts are plain ones. Every pattern is bounded or never goes back, so that the time is
proportional to the text's length, whatever the text. It errs on the side of taking out: some harmless numbers go, but
versions, dates and long numbers as such do not. It leaves ten digits that no word says anything of, numbers written in
words, hosts without a dot, an @ between spaces, and telephone numbers over several lines. Doing it again changes
nothing: what touches a mark such as `<phone>` counts as part of it.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from hashlib import blake2s

from bondhu.domains.assistant.keys import CARD, EMAIL, IBAN, KEY, PHONE, Find, Span, emails, issued, logins, named, sent
from bondhu.domains.assistant.numbers import accounts, cards, phones, told
from bondhu.errors import InvalidInput, nearest

WAYS = ("store", "hash", "drop")
_WORDS: tuple[tuple[Find, str], ...] = ((logins, KEY), (emails, EMAIL), (issued, KEY), (sent, KEY), (named, KEY))
_NUMBERS: tuple[tuple[Find, str], ...] = ((accounts, IBAN), (cards, CARD), (told, PHONE), (phones, PHONE))
_UNSEEN = "\u200b\u2060\ufeff"  # spaces without width
_SCRIPTS = (
    (0x80, 0x3400),
    (0xA000, 0xAC00),
    (0xFE00, 0x10000),
    (0x10400, 0x12000),
    (0x1D400, 0x1D800),
    (0x1E100, 0x1FC00),
)


def redacted(text: str) -> str:
    """The text with marks in place of e-mail addresses, telephone, card and account numbers, passwords and keys."""
    seen = plain(text)
    for stages in (_WORDS, _NUMBERS):
        if stages is _NUMBERS and not any(map(seen.__contains__, "0123456789")):
            break
        for find, mark in stages:
            if spans := find(seen):
                same = text is seen
                seen = _marked(seen, spans, mark)
                text = seen if same else _marked(text, spans, mark)
    return text


def plain(text: str) -> str:
    """The text with digits of any script, and spaces, dashes, letters and signs of other widths, as those of ASCII; as
    long as it was."""
    return text if text.isascii() else text.translate(_plainer())


@cache
def _plainer() -> dict[int, str]:
    """What stands for each character that has a plain one."""
    found = {ord(each): " " for each in _UNSEEN}
    for low, high in _SCRIPTS:
        for code in range(low, high):
            each = chr(code)
            as_ascii = _one(each)
            if as_ascii:
                found[code] = as_ascii
    return found


def _one(each: str) -> str:
    """The character of ASCII that stands for it, or none."""
    digit, kind = unicodedata.decimal(each, None), unicodedata.category(each)
    if digit is not None:
        return str(digit)
    if kind == "Zs":
        return " "
    if kind == "Pd" or each in "\u2212\u00ad":
        return "-"
    same = unicodedata.normalize("NFKC", each)
    return same if len(same) == 1 and same.isascii() else ""


def _marked(text: str, spans: list[Span], mark: str) -> str:
    """The text with the mark in place of each span."""
    parts, done = [], 0
    for start, end in spans:
        parts += [text[done:start], mark]
        done = end
    return "".join((*parts, text[done:]))


def masked(text: str, how: str, salt: bytes) -> str:
    """What is kept of a text: "store" it redacted, each word of that as a keyed "hash" of 8 hexadecimal characters (the
    same word gives the same, in order), or "drop" it. Raises InvalidInput for another way."""
    if how not in WAYS:
        raise InvalidInput(f"A text cannot be kept as {how!r}.", field="how", value=how, fix=nearest(how, WAYS))
    if how == "drop":
        return ""
    if how == "store":
        return redacted(text)
    key = blake2s(salt).digest()
    words = (word.strip(_AROUND) or word for word in redacted(text).lower().split())
    return " ".join(
        blake2s(word.encode("utf-8", "surrogatepass"), digest_size=4, key=key).hexdigest() for word in words
    )


_AROUND = ".,;:!?\"'()[]{}…„“”‘’«»¿¡。，、！？"  # of a word, not part of it
