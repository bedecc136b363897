"""Where card, account and telephone numbers stand in a text: `redaction` puts marks in their place.

Cards and accounts have to pass their own check digits. Each function takes a text of plain digits and spaces
(`redaction.plain`) and gives spans from left to right.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from string import ascii_lowercase

from bondhu.domains.assistant.keys import START, UNMARKED, Span

_LAST = re.compile(r"\d(?!\w)")
_APART = str.maketrans("", "", " .-\r\n")

# ---------------------------------------------------------------------------------------------------------------- cards

_BETWEEN = r"(?:[ .-]{1,2}| ?\r?\n ?)"
_CARD_START = re.compile(rf"(?<!\d){UNMARKED}(?<!\+)(?<![\d>][.,])[2-6]\d{{3}}(?=(?:{_BETWEEN}?\d){{9}})")
_CARD = re.compile(r"\d(?:[ -]?\d){12,18}")
_SOLID = re.compile(r"\d{15,16}(?!\d)")  # letters may touch it
_GROUPS = re.compile(  # with more between them than one space or dash
    r"\d{4}([ .-]{2}|\.| ?\r?\n ?)(?:\d{4}\1\d{4}\1\d{4}|\d{6}\1\d{5})(?!\w)"
)
_BRANDS = re.compile(  # Visa, American Express, Mastercard and others of 16, UnionPay and Maestro, Diners
    r"4\d{12}(?:\d{3}){0,2}|3[47]\d{13}|(?:5\d|2[2-7]|35|6\d)\d{14}|6[27]\d{15,17}|3[068]\d{12}"
)
_DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")


def cards(text: str) -> list[Span]:
    """Numbers of cards, in one piece or in groups."""
    return _spans(text, _CARD_START, _card)


def _card(text: str, start: int) -> int:
    if not _word_at(text, start - 1):
        for end in _ends(text, start, _CARD, 13):
            if _is_card(text[start:end]):
                return end
        found = _GROUPS.match(text, start)
        if found and _is_card(found[0]):
            return found.end()
    found = _SOLID.match(text, start)
    return found.end() if found and _is_card(found[0]) else 0


def _is_card(number: str) -> bool:
    digits = number.translate(_APART)
    return len(digits) >= 13 and digits.isascii() and _BRANDS.fullmatch(digits) is not None and _luhn(digits.encode())


def _luhn(digits: bytes) -> bool:
    """Whether the last digit is the check digit of the others (ISO 7812)."""
    return (sum(digits[-2::-2].translate(_DOUBLED)) + sum(digits[-1::-2]) - len(digits) * ord("0")) % 10 == 0


# ------------------------------------------------------------------------------------------------------------- accounts

_COUNTRIES = (  # and the lengths of their account numbers (ISO 13616)
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18 "
    "FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 "
    "LU20 LV21 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SE24 SI19 "
    "SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20"
)
_LENGTHS = {each[:2]: int(each[2:]) for each in _COUNTRIES.split()}
_VALUES = {**{digit: digit for digit in "0123456789"}, **{c: str(10 + n) for n, c in enumerate(ascii_lowercase)}}
_SECOND: defaultdict[str, str] = defaultdict(str)
for _country in _LENGTHS:
    _SECOND[_country[0]] += _country[1]
_ANY = "|".join(f"{first}[{second}]" for first, second in _SECOND.items())
_IBAN_START = re.compile(rf"{START}(?i:{_ANY})\d\d(?=(?:[ -]?[A-Za-z0-9]){{11}})")
_IBAN = re.compile(r"[A-Za-z0-9](?:[ -]?[A-Za-z0-9]){14,33}")


def accounts(text: str) -> list[Span]:
    """International numbers of bank accounts."""
    return _spans(text, _IBAN_START, _iban)


def _iban(text: str, start: int) -> int:
    found, size = _IBAN.match(text, start), _LENGTHS[text[start : start + 2].upper()]
    account = found[0].translate(_APART)[:size].lower() if found else ""
    if len(account) < size or int("".join(map(_VALUES.__getitem__, account[4:] + account[:4]))) % 97 != 1:
        return 0
    place, left = start, size
    while left:
        left -= text[place] not in " -"
        place += 1
    return 0 if place > start + size and _word_at(text, place) else place


# ----------------------------------------------------------------------------------------------------------- telephones

_ALONE = START + r"(?<![\d>][.,:])"
_NUMBER = re.compile(_ALONE + r"(?:\+?\d+|\(\+?\d{1,5}\))")
_PHONE = re.compile(r"[+(]{0,2}\d[\d ().\-/]{5,24}")
_ABROAD = re.compile(r"(?:\(?\+\d|00[1-9])(?:[ .()/-]{0,2}\d){6,13}")  # +49 (0)30 1234567, 0049 30 1234567
_HOME = re.compile(  # what may stand alone, as people write it at home
    r"0[1-9]\d{8,9}"  # 02079460958
    r"|\(?0[1-9]\d{0,4}\)?(?:[ ./-]{1,2}\d{2,8}){1,4}"  # 030/1234567, (020) 7946 0958, 01 23 45 67 89
    r"|(?:1[ .-])?\([1-9]\d{1,3}\) ?\d{3,5}[ .-]?\d{4}"  # (555) 123-4567, (11) 91234-5678
    r"|(?:1[ .-])?[2-9]\d{2}([.-])\d{3}\1\d{4}|[2-9]\d{2} [2-9]\d{2}[ -]\d{4}"  # 555-123-4567
    r"|[6-9]\d{4}[ -]\d{5}|\d{2} 9\d{4}-\d{4}"  # 98765 43210, 11 91234-5678
)
_LIKELY = re.compile(  # how those begin
    rf"{_ALONE}(?=[+(]{{0,2}}\d(?:[ ().\-/]{{0,3}}\d){{6}})(?:{_ABROAD.pattern}|(?:{_HOME.pattern}))"
)
_TOLD = re.compile(  # a number after such a word may be written in any way
    r"(?i)\b(?:tel|telephone|phone|mobile|cell|fax|whats ?app|sms|handy|telefono?|teléfono|telefone|téléphone|móvil"
    r"|celular|(?:call|ring|reach|text) (?:me|us|him|her|them)|(?:my|our|his|her|their) number|phone number"
    r"|(?:call|dial|ring)(?= [+(\d])|телефон|电话|電話|手机|ফোন|फ़ोन|फोन|هاتف)\b"
)
_TOLD_HINTS = (
    "tel", "tél", "phone", "mobile", "móvil", "cel", "fax", "whats", "sms", "handy", "call", "ring", "reach", "text",
    "dial", "number", "телефон", "电话", "電話", "手机", "ফোন", "फ़ोन", "फोन", "هاتف",
)  # fmt: skip
_MARK = re.compile("[<>]")
_NEAR = 16  # characters between such a word and a number
_ANYHOW = re.compile(r"\(?\d+\)?(?:[ ./-]{1,2}\(?\d+\)?){0,5}")
_DATE = re.compile(r"(?<!\d)(?:\d{1,2}([./-])\d{1,2}\1\d{4}|\d{4}([./-])\d{1,2}\2\d{1,2})(?!\d)")


def told(text: str) -> list[Span]:
    """Telephone numbers behind a word that says so."""
    low = text.lower()
    if not any(map(low.__contains__, _TOLD_HINTS)):
        return []
    spans, done = [], 0
    for word in _TOLD.finditer(text):
        at = max(word.end(), done)
        while (found := _NUMBER.search(text, at, word.end() + _NEAR + 1)) and not _MARK.search(text, at, found.start()):
            at = found.end()
            if end := _phone(text, found.start(), told=True):
                spans.append((found.start(), end))
                done = end
                break
    return spans


def phones(text: str) -> list[Span]:
    """Telephone numbers that look like one."""
    return _spans(text, _LIKELY, lambda text, start: _phone(text, start, told=False))


def _phone(text: str, start: int, *, told: bool) -> int:
    for end in _ends(text, start, _PHONE, 7):
        if end + 1 < len(text) and text[end] in ".,:" and text[end + 1].isdigit():
            continue
        if _telephone(text[start:end], told, text[start - 1 : start] if start else ""):
            return end
    return 0


def _telephone(number: str, told: bool, before: str) -> bool:
    """Whether it is one; `before`: what stands directly before it."""
    digits = sum(map(str.isdigit, number))
    if not 7 <= digits <= 15 or _DATE.search(number):
        return False
    if _ABROAD.fullmatch(number):
        return number.startswith(("+", "(+")) or digits >= 10
    if told:
        return digits <= 12 and _ANYHOW.fullmatch(number) is not None
    alone = not before or before not in ".,:/#$€£=&-*"
    return alone and 9 <= digits <= 12 and _HOME.fullmatch(number) is not None


# -------------------------------------------------------------------------------------------------------------- pieces


def _spans(text: str, start: re.Pattern[str], end: Callable[[str, int], int]) -> list[Span]:
    """From where `start` matches to `end`, which is 0 where nothing is there."""
    spans, at = [], 0
    while found := start.search(text, at):
        last = end(text, found.start())
        if last:
            spans.append((found.start(), last))
        at = last or _past(text, found.start())
    return spans


_DIGITS = re.compile(r"\(?\+?\w+\)?")


def _past(text: str, start: int) -> int:
    """Where the first digits of what turned out to be nothing end."""
    found = _DIGITS.match(text, start)
    return found.end() if found else start + 1


def _word_at(text: str, place: int) -> bool:
    return 0 <= place < len(text) and (text[place].isalnum() or text[place] == "_")


def _ends(text: str, start: int, pattern: re.Pattern[str], least: int) -> list[int]:
    """Where a number of at least so many digits that begins here may end, furthest first: after digits that neither
    letter nor digit follows."""
    if not (found := pattern.match(text, start)):
        return []
    last = found.end()
    return [each.end() for each in _LAST.finditer(text, start + least - 1, last + 1) if each.end() <= last][::-1]
