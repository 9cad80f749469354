"""Whatever a model or a crawl says: one line, no control characters, nothing that a spreadsheet calculates."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carscribe.export.captions import caption, cell, path_cell, visible


@pytest.mark.parametrize(
    ("text", "as_caption", "as_cell"),
    [
        ("a red car", "a red car", "a red car"),
        ("빨간 차, 둥근 램프", "빨간 차, 둥근 램프", "빨간 차, 둥근 램프"),
        ("=1+1", "1+1", "'=1+1"),
        ("+82 10", "82 10", "'+82 10"),
        ("-20 mm lowered stance", "−20 mm lowered stance", "'-20 mm lowered stance"),
        ("-.5 mm", "−.5 mm", "'-.5 mm"),
        ("- red car", "red car", "'- red car"),
        ("-2+3+cmd|' /C calc'!A0", "−2+3+cmd|' /C calc'!A0", "'-2+3+cmd|' /C calc'!A0"),
        ("@SUM(A1)", "SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "1", "'=1"),
        ("\r\n=1", "1", "'=1"),
        ("\ufeff\u200b=1", "1", "'=1"),
        ("\u3000＝1", "1", "'＝1"),
        ("＋1", "1", "'＋1"),
        ("－20 mm", "−20 mm", "'－20 mm"),
        ("＠x", "x", "'＠x"),
        ("﹣1", "−1", "'﹣1"),
        ("=+-@=x", "x", "'=+-@=x"),
        ("=", "", "'="),
        ("", "", ""),
        ("red; -1 and;=HYPERLINK(1)", "red; -1 and;=HYPERLINK(1)", "red; '-1 and;'=HYPERLINK(1)"),
        ("well-kept = clean @ home", "well-kept = clean @ home", "well-kept = clean @ home"),
        ("red\x1b[31m\x07\nline\u202e", "red [31m line", "red [31m line"),
        ("\udcb0 car", "car", "car"),
        ("👨\u200d👩\u200d👧 van", "👨\u200d👩\u200d👧 van", "👨\u200d👩\u200d👧 van"),
        ("🚗\u200d, a\u200db", "🚗, ab", "🚗, ab"),
    ],
)
def test_captions_and_cells_are_plain_lines(text: str, as_caption: str, as_cell: str) -> None:
    assert caption(text) == as_caption
    assert cell(text) == as_cell


@given(st.text(st.characters() | st.sampled_from("=+-@;＝－\t\n\x1b\u202e 1")))
def test_no_text_gets_a_formula_or_a_control_character_through(text: str) -> None:
    for line in (caption(text), cell(text)):
        shown = line.replace("\u200d", "")  # which stays between emoji
        assert not {unicodedata.category(char) for char in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
        assert unicodedata.normalize("NFKC", line[:1])[:1] not in set("=+-@") or not line
    for part in cell(text).split(";"):
        assert unicodedata.normalize("NFKC", part.lstrip())[:1] not in set("=+-@") or not part.strip()


def test_a_path_keeps_its_blanks_and_its_joined_emoji() -> None:
    path = "/사진/a  b\u00a0c 👩\u200d🔧.jpg"
    assert path_cell(path) == visible(path) == path


@pytest.mark.parametrize(
    ("path", "shown"), [("/a\x1b[31m\n.jpg", "/a_[31m_.jpg"), ("/\udcb0.jpg", "/_.jpg"), ("=1.jpg", "'=1.jpg")]
)
def test_a_path_that_could_do_harm_is_changed(path: str, shown: str) -> None:
    assert path_cell(path) == shown
