"""Filter expressions: ``value.packets > 1000 and key.saddr in 10.0.0.0/8``.

    or, and, not (also ||, &&, !), parentheses; == != < <= > >=, in, not in, contains, startswith
    numbers 12, -3, 0x1f, 1_000, 2.5; text in quotes; addresses 10.0.0.1, 10.0.0.0/8, fe80::/10, 02:00:5e:00:00:01;
    true, false; names of enumerators, bare or in quotes; bytes hex:0a00; ``in`` takes (1, 2, 3), 1..5 or a network;
    another field on the right: value.rx > value.tx. A bare true-or-false field is a question of its own.

What is compared: an address literal with the field's bytes in memory order (a u32, four or sixteen bytes, a struct of that
size), whatever the host's byte order; a number with the number that the field's lens shows, so that a __be16 port compares
as the port and a __be32 in network order; text with what comes before the first NUL. In per-CPU maps a number is the sum
over all CPUs and anything else holds if it does on any CPU; "value@all.x", "value@any.x", "value@max.x", "value@cpu0.x"
say otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, cast

from app.columns.condition import (
    Compare,
    Expr,
    Holds,
    Junction,
    Literal_,
    Not,
    Number,
    Octets,
    Op,
    Path,
    Range,
    Text,
    Within,
)  # fmt: skip
from app.columns.errors import WhereError

__all__ = ["Expr", "WhereError", "parse"]

MAX_TEXT = 4096
MAX_DEPTH = 50


def parse(text: str) -> Expr:
    """The expression in ``text``. raises WhereError, and nothing else, whatever the text is"""
    if len(text) > MAX_TEXT:
        raise WhereError(MAX_TEXT + 1, f"the expression has {len(text)} characters, at most {MAX_TEXT} are read")
    parser = _Parser(list(_tokens(text)))
    return parser.whole()


_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<hexbytes>hex:[0-9A-Fa-f]*)
      | (?P<mac>[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}(?![0-9A-Fa-f:]))
      | (?P<ip6>(?:[0-9A-Fa-f]{0,4}:){2,8}[0-9A-Fa-f]{0,4}(?:\.[0-9]+(?!\.\.)){0,3}(?:/[0-9]+)?)
      | (?P<ip4>[0-9]+(?:\.[0-9]+){3}(?:/[0-9]+)?(?![0-9]))
      | (?P<number>-?(?:0[xX][0-9A-Fa-f_]+|[0-9][0-9_]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,4})?)(?![A-Za-z0-9_]))
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*(?:@[A-Za-z0-9]+)?(?:\[[^\]\s]*\]|\.(?!\.)[A-Za-z0-9_]*)*)
      | (?P<op>==|!=|<=|>=|<|>|&&|\|\||!|\(|\)|,|\.\.|=)""",
    re.VERBOSE | re.DOTALL,
)
_SYNONYMS = {"&&": "and", "||": "or", "!": "not", "=": "=="}
_ORDERS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_WORD_OPS = frozenset({"contains", "startswith"})
_FLIPPED: dict[str, Op] = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_PATH = re.compile(r"(?:key|value)(?![A-Za-z0-9_])")
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}


@dataclass(frozen=True, slots=True)
class _Token:
    column: int
    kind: str
    text: str


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            what = "text that no quote ends" if text[at] in "\"'" else f"{text[at]!r} has no meaning here"
            raise WhereError(at + 1, what)
        kind = match.lastgroup or ""
        if kind == "word" and match[0] in {"and", "or", "not", "in", *_WORD_OPS}:
            kind = "op"
        if kind != "space":
            yield _Token(at + 1, kind, _SYNONYMS.get(match[0], match[0]) if kind == "op" else match[0])
        at = match.end()
    yield _Token(len(text) + 1, "end", "")


class _Parser:
    """Precedence climbing: or, and, not, then comparisons."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def whole(self) -> Expr:
        if self._next.kind == "end":
            raise WhereError(1, "a condition is missing, such as value.packets > 1000")
        expr = self._junction("or", 0)
        if self._next.kind != "end":
            raise WhereError(
                self._next.column, f"{_shown(self._next)} was not expected here; join conditions with and, or"
            )
        return expr

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, *texts: str) -> bool:
        """Step over the next token if it is one of these operators."""
        if self._next.kind == "op" and self._next.text in texts:
            self._at += 1
            return True
        return False

    def _junction(self, word: Literal["and", "or"], depth: int) -> Expr:
        below: Callable[[int], Expr] = (lambda deep: self._junction("and", deep)) if word == "or" else self._unary
        parts = [below(depth)]
        while self._take(word):
            parts.append(below(depth))
        return parts[0] if len(parts) == 1 else Junction(word, tuple(parts))

    def _unary(self, depth: int) -> Expr:
        if depth > MAX_DEPTH:
            raise WhereError(self._next.column, f"more than {MAX_DEPTH} parentheses or nots inside each other")
        if self._take("not"):
            return Not(self._unary(depth + 1))
        if self._take("("):
            expr = self._junction("or", depth + 1)
            if not self._take(")"):
                raise WhereError(self._next.column, f"a ) is missing before {_shown(self._next)}")
            return expr
        return self._comparison()

    def _comparison(self) -> Expr:
        left = self._operand(want="a field such as value.packets")
        token = self._next
        if not isinstance(left, Path):
            turned = self._turned(left)
            if turned is not None:
                return turned
            if not (isinstance(left, Text) and left.bare):
                raise WhereError(left.column, "a comparison needs a field, such as value.packets, on one side")
            left = Path(left.column, left.value)  # to be refused by name, with a suggestion, once the layout is known
        if self._take("not"):
            if not self._take("in"):
                raise WhereError(self._next.column, "in was wanted after not")
            return Not(self._within(left))
        if self._take("in"):
            return self._within(left)
        if self._take(*_ORDERS, *_WORD_OPS):
            want = "a number, text in quotes, an address or another field"
            return Compare(left, cast("Op", token.text), self._operand(want=want))
        return Holds(left)

    def _turned(self, left: Literal_) -> Expr | None:
        """``5 < value.x`` as value.x > 5, or None with nothing taken."""
        start, token = self._at, self._next
        if self._take(*_ORDERS) and self._next.kind == "word":
            right = self._operand(want="a field")
            if isinstance(right, Path):
                return Compare(right, _FLIPPED[token.text], left)
        self._at = start
        return None

    def _within(self, path: Path) -> Expr:
        if not self._take("("):
            return Within(path, (self._option(),))
        options = [self._option()]
        while self._take(","):
            options.append(self._option())
        if not self._take(")"):
            raise WhereError(self._next.column, f"a , or ) was wanted, found {_shown(self._next)}")
        return Within(path, tuple(options))

    def _option(self) -> Literal_ | Range:
        low = self._literal()
        if self._take(".."):
            return Range(low.column, low, self._literal())
        return low

    def _literal(self) -> Literal_:
        found = self._operand(want="a list such as (1, 2), a range such as 1..5 or a network such as 10.0.0.0/8")
        if isinstance(found, Path):
            raise WhereError(found.column, f"in compares with fixed values; write {found.text} with == instead")
        return found

    def _operand(self, want: str) -> Path | Literal_:
        token = self._next
        read = _READERS.get(token.kind)
        if read is None:
            raise WhereError(token.column, f"{want} was wanted, found {_shown(token)}")
        self._at += 1
        return read(token)


def _word(token: _Token) -> Path | Text:
    if _PATH.match(token.text):
        return Path(token.column, token.text)
    return Text(token.column, token.text, bare=True)


def _string(token: _Token) -> Text:
    def replaced(match: re.Match[str]) -> str:
        code = match[1]
        if len(code) == 3:
            return chr(int(code[1:], 16))
        return _ESCAPES.get(code, code)

    return Text(token.column, _ESCAPE.sub(replaced, token.text[1:-1]))


def _number(token: _Token) -> Number:
    digits = token.text.replace("_", "")
    try:
        value = (
            int(digits, 16) if "x" in digits.lower() else int(digits) if digits.lstrip("-").isdigit() else float(digits)
        )
    except ValueError:
        raise WhereError(token.column, f"{_shown(token)} is not a number") from None
    if value in {float("inf"), float("-inf")} or abs(value) >= 1 << 130:
        raise WhereError(token.column, f"{_shown(token)} is larger than any field")
    return Number(token.column, value)


def _hex_bytes(token: _Token) -> Octets:
    digits = token.text[4:]
    if not digits or len(digits) % 2:
        raise WhereError(token.column, "hex: wants two digits a byte, such as hex:0a00")
    data = bytes.fromhex(digits)
    return Octets(token.column, data, len(data) * 8, "bytes")


def _mac(token: _Token) -> Octets:
    return Octets(token.column, bytes.fromhex(token.text.replace(":", "")), 48, "MAC address")


def _address(token: _Token) -> Octets:
    from ipaddress import ip_address

    text, slash, bits = token.text.partition("/")
    try:
        address = ip_address(text)
    except ValueError:
        raise WhereError(token.column, f"{_shown(token)} is not an IP address") from None
    width = address.max_prefixlen
    prefix_bits = int(bits[:5]) if slash else width
    if prefix_bits > width:
        raise WhereError(token.column, f"an IPv{address.version} prefix has at most {width} bits, found /{bits[:5]}")
    return Octets(token.column, address.packed, prefix_bits, f"IPv{address.version} address")


_READERS: dict[str, Callable[[_Token], Path | Literal_]] = {
    "word": _word, "string": _string, "number": _number, "hexbytes": _hex_bytes, "mac": _mac, "ip4": _address,
    "ip6": _address,
}  # fmt: skip


def _shown(token: _Token) -> str:
    if token.kind == "end":
        return "the end"
    return repr(token.text if len(token.text) <= 40 else token.text[:39] + "…")
