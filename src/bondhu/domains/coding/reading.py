"""What can be said of a program without running it: whether it may stand, where its function is, what it names."""

from __future__ import annotations

import ast
import keyword
import re
import warnings
from collections.abc import Sequence

from bondhu.domains.coding.trees import LINE, top_functions
from bondhu.errors import nearest

LARGEST = 256 * 1024  # characters of source, as in the sandbox
FOUND = 20  # lines that a search shows
WORD = re.compile(r"\b[^\W\d]\w*\b")


def lines(source: str) -> list[str]:
    """As Python counts them, without their ends."""
    return [each.rstrip("\r\n") for each in LINE.findall(source)]


def replaced(source: str, first: int, last: int, text: str) -> str:
    """The source with `text` in the place of the lines from first to last; "" takes them out."""
    rows = LINE.findall(source)
    end = "" if not text or text.endswith("\n") else rows[last - 1][len(rows[last - 1].rstrip("\r\n")) :]
    return "".join([*rows[: first - 1], text + end, *rows[last:]])


def unfit(source: str, entry: str) -> str:
    """Why this cannot stand as the program: one sentence that names the line where there is one; "" if it can."""
    if len(source) > LARGEST:
        return f"The program is longer than {LARGEST >> 10} KiB."
    try:
        names = [name for name, _, _ in outline(source)]
    except SyntaxError as error:
        line = error.lineno or source.count("\n", 0, source.find("\0")) + 1  # that of a null character is not told
        text = lines(source)[line - 1 : line]
        return f"Line {line} does not parse: {error.msg}" + (f" in {text[0].strip()!r}." if text else ".")
    except UnicodeEncodeError as error:
        line = source.count("\n", 0, error.start) + 1
        return f"Line {line} does not parse: it holds a character that cannot be written."
    except (ValueError, RecursionError, MemoryError) as error:
        return f"The program does not parse: {error or 'it is nested too deeply'}."
    return "" if entry in names else f"The program defines no function {entry!r}. {nearest(entry, names)}"


def outline(source: str) -> list[tuple[str, int, int]]:
    """Name, first and last line of the functions and methods, in order. Raises SyntaxError, as `ast.parse` does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # such as of an escape that is none
        functions = [node for node, _ in top_functions(ast.parse(source))]
    first = [min([each.lineno, *(node.lineno for node in each.decorator_list)]) for each in functions]
    return [(each.name, line, each.end_lineno or line) for each, line in zip(functions, first, strict=True)]


def compiled(source: str) -> tuple[bool, str]:
    """Whether it compiles, and what the compiler says. Nothing is executed."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            compile(source, "program.py", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            at = f"line {error.lineno}: {error.msg}" if isinstance(error, SyntaxError) else str(error)
            return False, f"error: {at}"
    said = [f"warning: line {each.lineno}: {each.message}" for each in heard]
    return True, "\n".join(["compiles", *said])


def search(source: str, words: Sequence[str]) -> str:
    """The lines in which one of the words stands, with their numbers; of many the first."""
    wanted = [word.casefold() for word in words]
    rows = enumerate(lines(source), 1)
    found = [f"{number:4}  {line}" for number, line in rows if any(word in line.casefold() for word in wanted)]
    rest = [f"… {len(found) - FOUND} lines more"] if len(found) > FOUND else []
    return "\n".join([*found[:FOUND], *rest]) or "nothing found"


def named(line: str) -> tuple[str, ...]:
    """The names in a line of code, each once."""
    return tuple(dict.fromkeys(word for word in WORD.findall(line) if not keyword.iskeyword(word)))
