"""File names are readable, safe everywhere, and no two photos share one."""

import sys
import tracemalloc
import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carscribe.export.names import PART_BYTES, PATH_BYTES, NameBook, safe_parts


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("kia/niro.jpg", "kia/niro.jpg"),
        ("기아/니로 2.jpg", "기아/니로 2.jpg"),
        (unicodedata.normalize("NFD", "니로.jpg"), unicodedata.normalize("NFD", "니로.jpg")),
        ("a  b, 'c' (2) [3] #4 & 5 👩\u200d🔧.jpg", "a  b, 'c' (2) [3] #4 & 5 👩\u200d🔧.jpg"),
        ("../x.jpg", "x.jpg"),
        ("../../../etc/passwd", "etc/passwd"),
        ("a/../../b/./c.jpg", "a/b/c.jpg"),
        ("/etc/passwd", "etc/passwd"),
        ("//server/share/a.jpg", "server/share/a.jpg"),
        ("C:\\cars\\a.jpg", "C_/cars/a.jpg"),
        ("..\\..\\a.jpg", "a.jpg"),
        ("\\\\server\\share\\a.jpg", "server/share/a.jpg"),
        ("zip://a.jpg", "zip_/a.jpg"),
        ("CON", "_CON"),
        ("nul.jpg", "_nul.jpg"),
        ("com¹.tar.jpg", "_com¹.tar.jpg"),
        ("aux /lpt9 .jpg", "_aux/_lpt9 .jpg"),
        ("console.jpg", "console.jpg"),
        ('a<b>c:d"e|f?g*h;i.jpg', "a_b_c_d_e_f_g_h_i.jpg"),
        ("folder./name. .jpg", "folder/name. .jpg"),
        ("name.jpg. ", "name.jpg"),
        (".hidden/.a.jpg", "_hidden/_a.jpg"),
        ("... /x.jpg", "_/x.jpg"),
        ("red\x1b[31m\n.jpg", "red_[31m_.jpg"),
        ("gpj.\u202eexe", "gpj._exe"),
        ("\udcb0.jpg", "_.jpg"),
        ("", "photo"),
        ("..", "photo"),
    ],
)
def test_a_key_becomes_a_safe_path_inside_the_folder(key: str, path: str) -> None:
    assert "/".join(safe_parts(key)) == path


@given(st.lists(st.text(st.characters() | st.sampled_from("/\\.:aA éÉ\u0301\x00"), max_size=30), max_size=6))
def test_whatever_the_keys_paths_stay_inside_and_never_meet(keys: list[str]) -> None:
    book = NameBook()
    paths = [book.take("images", safe_parts(key), key) for key in keys]
    for path in paths:
        assert path.startswith("images/")
        assert not {"", ".", ".."} & set(path.split("/"))
        assert not PureWindowsPath(path).is_absolute()
        assert not PureWindowsPath(path.removeprefix("images/")).drive
        assert not set(path) & set('\0<>:"|?*\\')
    folded = [unicodedata.normalize("NFD", path.casefold()) for path in paths]
    assert len(set(folded)) == len(paths)
    above = {parent.as_posix() for path in folded for parent in PurePosixPath(path).parents}
    assert not above & set(folded)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a.jpg", "a.jpg"),
        ("kia/Niro.jpg", "kia/niro.JPG"),
        ("Kia/a.jpg", "kia/a.jpg"),
        (unicodedata.normalize("NFC", "니로.jpg"), unicodedata.normalize("NFD", "니로.jpg")),
        ("STRASSE.jpg", "straße.jpg"),
        ("a?.jpg", "a_.jpg"),
        ("../a.jpg", "a.jpg"),
        ("a", "a/b.jpg"),
        ("a/b.jpg", "a"),
    ],
)
def test_of_two_that_some_file_system_takes_for_one_the_later_is_marked(first: str, second: str) -> None:
    def names() -> tuple[str, str]:
        book = NameBook()
        return book.take("", safe_parts(first), first), book.take("", safe_parts(second), second)

    one, other = names()
    assert one == "/".join(safe_parts(first))
    assert other != "/".join(safe_parts(second))
    assert PurePosixPath(other).suffix == PurePosixPath(second).suffix
    assert names() == (one, other), "the same keys get the same names"


def test_a_mark_never_takes_the_name_of_another_photo() -> None:
    marked = NameBook()
    marked.take("", ["a.jpg"], "a.jpg")
    taken = marked.take("", ["A.jpg"], "A.jpg")
    book = NameBook()
    assert book.take("", [taken], taken) == taken
    book.take("", ["a.jpg"], "a.jpg")
    assert book.take("", ["A.jpg"], "A.jpg") not in {taken, "a.jpg", "A.jpg"}


@pytest.mark.parametrize("letter", ["a", "차"])
def test_long_names_are_cut_between_characters_and_stay_apart(letter: str) -> None:
    book = NameBook()
    keys = [f"{letter * 300}{i}.jpg" for i in range(3)]
    names = [book.take("", safe_parts(key), key) for key in keys]
    assert len(set(names)) == 3
    for name in names:
        assert len(name.encode()) <= PART_BYTES
        assert name.startswith(letter * 60)
        assert name.endswith(".jpg")


def test_very_deep_folders_are_left_out() -> None:
    key = "/".join(["x" * 50] * 40) + "/niro.jpg"
    name = NameBook().take("images", safe_parts(key), key)
    assert len(name.encode()) <= PATH_BYTES
    assert PurePosixPath(name).parts[0] == "images"
    assert name.startswith("images/niro-")


def test_many_names_are_told_apart_in_few_bytes_each() -> None:
    count = 20_000
    tracemalloc.start()
    book = NameBook()
    taken = [book.take("", [f"{i}.jpg"], f"{i}.jpg") == f"{i}.jpg" for i in range(count)]
    kept_bytes = tracemalloc.get_traced_memory()[0] - sys.getsizeof(taken)
    tracemalloc.stop()
    assert all(taken)
    assert book.take("", ["7777.JPG"], "other") != "7777.JPG"
    assert kept_bytes < 40 * count
