"""Which line of a TOML text holds a value. tomllib tells lines for syntax errors only.

Reads text that tomllib has accepted, so it may be lenient: it finds where keys and values stand and never what they
are. Knows headers, arrays of tables, dotted and quoted keys, arrays, inline tables and the four kinds of string.
"""

import contextlib
import re
import tomllib

Location = tuple[str | int, ...]
"""The keys and array indices that lead to a value: `("questions", 2, "text", "ko")`."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'  # up to two quotes may stand before the closing three
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'",
    re.DOTALL,
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}\n#]+")  # a date may hold a space


class TomlLines:
    """The line of every key and array element of one TOML text.

    >>> lines = TomlLines('id = "x"\\n[[questions]]\\ntext.en = "a"\\ntext.ko = "b"')
    >>> lines.line_of(("questions", 0, "text", "ko"))
    4
    >>> lines.line_of(("questions", 0, "priority"))  # not there: the line of what should hold it
    2
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._spans = _Scanner(source).scan()

    def line_of(self, location: Location, *, found: str = "") -> int:
        """Line, from 1, of the value at `location`, or of the nearest table around it that is written down.

        With `found`, the line inside a value of several lines where that text first stands.
        """
        for length in range(len(location), 0, -1):
            span = self._spans.get(location[:length])
            if span is not None:
                start, end = span
                inside = self._source.find(found, start, end) if found else -1
                return self._source.count("\n", 0, max(start, inside)) + 1
        return 1


class _Scanner:
    """One pass over a text; `spans` gives for each location the offsets [start, end) of its key and value."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0
        self.table: Location = ()
        self.spans: dict[Location, tuple[int, int]] = {}
        self.last_index: dict[Location, int] = {}  # of each array of tables

    def scan(self) -> dict[Location, tuple[int, int]]:
        with contextlib.suppress(ValueError, RecursionError):  # lost: the lines known so far serve
            self._statements()
        return self.spans

    def _statements(self) -> None:
        self._take(_BLANK)
        while self.at < len(self.source):
            if self._skip("["):
                self._header()
            else:
                self._assignment(self.table)
            self._take(_BLANK)

    def _header(self) -> None:
        start = self.at - 1
        is_array = self._skip("[")
        keys = self._keys()
        location: Location = ()
        for depth, key in enumerate(keys, start=1):
            location += (key,)
            self._note(location, start)
            if is_array and depth == len(keys):
                self.last_index[location] = self.last_index.get(location, -1) + 1
            if location in self.last_index:
                location += (self.last_index[location],)
        self._note(location, start)
        self.table = location
        self._expect("]]" if is_array else "]")

    def _assignment(self, table: Location) -> None:
        start = self.at
        location = table
        for key in self._keys():
            location += (key,)
            self._note(location, start)
        self._expect("=")
        self._take(_BLANK)
        self._value(location)
        self.spans[location] = (start, self.at)

    def _value(self, location: Location) -> None:
        start = self.at
        if self._skip("["):
            self._array(location)
        elif self._skip("{"):
            self._inline_table(location)
        else:
            self._take(_STRING if self.source[start : start + 1] in {'"', "'"} else _SCALAR)
        self.spans[location] = (start, self.at)

    def _array(self, location: Location) -> None:
        index = 0
        while not self._closes("]"):
            self._value((*location, index))
            index += 1

    def _inline_table(self, location: Location) -> None:
        while not self._closes("}"):
            self._assignment(location)

    def _closes(self, bracket: str) -> bool:
        """Step over white space and a comma, and over the bracket if it comes next."""
        self._take(_BLANK)
        if self._skip(","):
            self._take(_BLANK)
        return self._skip(bracket)

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._take(_BLANK)
            if self.source[self.at : self.at + 1] in {'"', "'"}:
                keys.append(str(tomllib.loads(f"key = {self._take(_STRING)}")["key"]))
            else:
                keys.append(self._take(_BARE_KEY))
            self._take(_BLANK)
            if not self._skip("."):
                return keys

    def _note(self, location: Location, start: int) -> None:
        self.spans.setdefault(location, (start, self.at))

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.source, self.at)
        if match is None:
            raise ValueError(f"offset {self.at} is not what {pattern.pattern!r} takes")
        self.at = match.end()
        return match.group()

    def _skip(self, mark: str) -> bool:
        if not self.source.startswith(mark, self.at):
            return False
        self.at += len(mark)
        return True

    def _expect(self, mark: str) -> None:
        if not self._skip(mark):
            raise ValueError(f"offset {self.at} is not {mark!r}")
