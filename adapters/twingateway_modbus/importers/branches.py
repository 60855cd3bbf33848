"""The `if` branches of a template's text, chosen for one kind of use. Pure.

Only what decides between devices is judged: comparisons of `.usage`, joined by `or`, `and`, `not`. Anything else (an
option that an installer may give) counts as given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

#: What stands where a directive would have put something: neither a number nor a name of anything.
CHOSEN = "chosen-by-the-template"

_LINE = re.compile(r"\s*\{\{-?\s*(.*?)\s*-?\}\}\s*")
_INLINE = re.compile(r"\{\{-?\s*if\s+(.*?)\s*-?\}\}(.*?)(?:\{\{-?\s*else\s*-?\}\}(.*?))?\{\{-?\s*end\s*-?\}\}")
_DIRECTIVE = re.compile(r"\{\{.*?\}\}")
_TOKEN = re.compile(r"[()]|\"[^\"]*\"|[^\s()\"]+")
#: Directives that have an `end` of their own and decide nothing here.
_BLOCKS = frozenset({"range", "with", "define", "block"})


def text_for(usage: str, text: str) -> str:
    """The lines of `text` that belong to `usage`; directives that put something in are `CHOSEN`."""
    lines = []
    # Of each open block: whether its lines are taken, and whether one of its branches has been.
    blocks: list[list[bool]] = []
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is None or "}}" in match[1]:
            if all(taken for taken, _ in blocks):
                lines.append(_DIRECTIVE.sub(CHOSEN, _INLINE.sub(lambda found: _inline(usage, found), line)))
            continue
        word, _, rest = match[1].partition(" ")
        if word == "if":
            holds = _holds(usage, rest)
            blocks.append([holds, holds])
        elif word == "else" and blocks:
            holds = not blocks[-1][1] and (not rest or _holds(usage, rest.removeprefix("if ")))
            blocks[-1] = [holds, holds or blocks[-1][1]]
        elif word in _BLOCKS:
            blocks.append([True, True])
        elif word == "end" and blocks:
            blocks.pop()
    return "\n".join(lines)


def _inline(usage: str, found: re.Match[str]) -> str:
    return found[2] if _holds(usage, found[1]) else found[3] or ""


def _holds(usage: str, condition: str) -> bool:
    tokens = iter(_TOKEN.findall(condition))
    return _judge(usage, list(_nested(tokens)))


def _nested(tokens: Iterator[str]) -> Iterator[object]:
    """Words, and lists of them for what stands in brackets."""
    for token in tokens:
        if token == ")":
            return
        yield list(_nested(tokens)) if token == "(" else token


def _judge(usage: str, terms: list[object]) -> bool:
    if len(terms) == 1 and isinstance(terms[0], list):
        return _judge(usage, terms[0])
    operator, rest = (terms[0], terms[1:]) if terms else ("", [])
    if operator in ("eq", "ne") and rest[:1] == [".usage"]:
        return (f'"{usage}"' in rest[1:]) == (operator == "eq")
    parts = [_judge(usage, each if isinstance(each, list) else [each]) for each in rest]
    if operator == "or":
        return any(parts)
    if operator == "and":
        return all(parts)
    return not all(parts) if operator == "not" else True
