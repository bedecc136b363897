"""Which language a text is in: by its letters, or by the most frequent words of languages in Latin letters."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bondhu.domains.assistant import lexicon

LANGUAGES = ("en", "es", "fr", "de", "pt", "it", "nl", "bn", "hi", "ru", "zh", "ja", "ar", "other")

# Devanagari counts as Hindi and Chinese characters without kana as Chinese, though other languages use them as well.
_SCRIPTS = {
    "bn": re.compile(r"[\u0980-\u09ff]+"),
    "hi": re.compile(r"[\u0900-\u097f]+"),
    "ru": re.compile(r"[\u0400-\u04ff]+"),
    "ja": re.compile(r"[\u3040-\u30ff]+"),
    "zh": re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]+"),
    "ar": re.compile(r"[\u0600-\u06ff\u0750-\u077f]+"),
    "other": re.compile(r"[\u0370-\u03ff\u0530-\u05ff\u0a00-\u0dff\u0e00-\u10ff\u1100-\u11ff\uac00-\ud7af]+"),
}
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]+")
_STRANGE = {"ru": re.compile("[іїєґўјљњћђџқғҳ]", re.I), "ar": re.compile("[پچژگکیےںٹڈڑ]")}  # of other languages
_SIGNS = {  # letters that hardly any other of these languages writes
    "es": re.compile("[ñ¿¡]"),
    "de": re.compile("[ßäöü]"),
    "pt": re.compile("[ãõ]"),
    "fr": re.compile("[œçèêëîûùâ]"),
    "it": re.compile("[òìù]"),
    "other": re.compile("[åøæłśźżńąęőűşğıřůěčđơưạảấầẩậắằặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựăţțș]"),
}
KANA = 0.05  # from this share of kana among its East Asian characters a text is Japanese
SIGN = 0.6  # of a frequent word's vote, for a letter that stands for a language
LEAST = 0.12  # votes for each word, below which nothing is said of the language
ENOUGH = 300  # words that are looked at


def language_of(text: str, words: Sequence[str]) -> str:
    """One of LANGUAGES; "other" where nothing tells. `words`: those of the text, in lower case."""
    if text.isascii():
        return _by_words(text, words)
    letters = {name: sum(map(len, script.findall(text))) for name, script in _SCRIPTS.items()}
    likeliest = max(letters, key=letters.__getitem__)
    if letters[likeliest] * 2 <= sum(map(len, _LATIN.findall(text))):  # a Chinese character says more than a letter
        return _by_words(text, words)
    if likeliest in ("zh", "ja"):
        return "ja" if letters["ja"] > KANA * (letters["ja"] + letters["zh"]) else "zh"
    strange = _STRANGE.get(likeliest)
    return "other" if strange and len(strange.findall(text)) * 20 > letters[likeliest] else likeliest


def _by_words(text: str, words: Sequence[str]) -> str:
    votes = dict.fromkeys(LANGUAGES, 0.0)
    known, looked = lexicon.languages(), words[:ENOUGH]
    for word in looked:
        for language, share in known.get(word, ()):
            votes[language] += share
    if not text.isascii():
        for language, sign in _SIGNS.items():
            votes[language] += SIGN * len(set(sign.findall(text.lower())))
    likeliest = max(votes, key=votes.__getitem__)
    return likeliest if votes[likeliest] > LEAST * len(looked) else "other"
