"""Photos are found in whatever a user gives, each once, under a key of its own."""

import json
import os
import sys
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from carscribe.errors import MetadataError, MissingExtraError, PhotosError
from carscribe.photos.sources import FoundPhotos, find_photos, same_bytes
from carscribe.records import Metadata, PhotoFile

REAL_PHOTOS = Path(os.environ.get("CARSCRIBE_REAL_PHOTOS", Path(__file__).parents[3] / "shared" / "cars"))


def touch(folder: Path, *names: str, content: bytes = b"x") -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def link(at: Path, to: Path) -> None:
    at.parent.mkdir(parents=True, exist_ok=True)
    try:
        at.symlink_to(to, target_is_directory=to.is_dir())
    except OSError:
        pytest.skip("this system does not let us make symbolic links")


def keys(found: FoundPhotos) -> list[str]:
    return [file.key for file in found.files]


def table(folder: Path, rows: object, name: str = "list.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return path


def test_a_folder_gives_its_photos_in_natural_order(tmp_path):
    touch(tmp_path, "10.jpg", "2.JPG", "b/3.png", "B/20.webp", "b/1.heic", "1.avif", "현대/그랜저 1.jpeg")
    found = find_photos(tmp_path)
    assert keys(found) == ["1.avif", "2.JPG", "10.jpg", "b/1.heic", "b/3.png", "B/20.webp", "현대/그랜저 1.jpeg"]
    assert all(file.path == tmp_path / file.key for file in found.files)


def test_hidden_and_system_files_are_passed_over(tmp_path):
    touch(
        tmp_path, "a.jpg", ".b.jpg", "._a.jpg", ".git/c.jpg", "__MACOSX/a.jpg", "@eaDir/a.jpg", "Thumbs.db", ".DS_Store"
    )
    found = find_photos(tmp_path)
    assert list(found.files) == [PhotoFile(location=str(tmp_path / "a.jpg"), key="a.jpg")]
    assert found.ignored == {}


def test_a_hidden_folder_that_was_asked_for_is_searched(tmp_path):
    assert keys(find_photos(touch(tmp_path / ".cache", "a.jpg"))) == ["a.jpg"]


def test_other_files_are_counted_by_suffix(tmp_path):
    touch(tmp_path, "a.jpg", "b.TXT", "c/d.txt", "c/README", "e.tar.gz")
    assert find_photos(tmp_path).ignored == {"": 1, ".gz": 1, ".txt": 2}


@pytest.mark.parametrize("as_text", [False, True])
def test_one_photo_is_found_by_its_name(tmp_path, as_text):
    path = touch(tmp_path, "sub/a b.jpg") / "sub" / "a b.jpg"
    assert keys(find_photos(str(path) if as_text else path)) == ["a b.jpg"]


def test_links_are_followed_and_a_circle_ends(tmp_path):
    outside = touch(tmp_path / "outside", "o.jpg", "deep/p.jpg")
    folder = touch(tmp_path / "folder", "z/a.jpg")
    link(folder / "linked", outside)
    link(folder / "z" / "up", folder)
    link(folder / "z" / "further up", tmp_path)
    link(folder / "self.jpg", folder / "self.jpg")
    link(folder / "gone.jpg", tmp_path / "nowhere.jpg")
    assert keys(find_photos(folder)) == ["linked/deep/p.jpg", "linked/o.jpg", "z/a.jpg"]


def test_a_file_reached_twice_appears_once(tmp_path):
    folder = touch(tmp_path / "folder", "real/a.jpg", "b.jpg")
    link(folder / "again", folder / "real")
    link(folder / "c.jpg", folder / "b.jpg")
    listed = table(tmp_path, [{"image": "folder/b.jpg", "name": "K5"}, {"image": "./folder/b.jpg", "kind": "세단"}])
    found = find_photos([folder, folder / "b.jpg", listed, tmp_path / "folder" / ".." / "folder"])
    assert keys(found) == ["b.jpg", "real/a.jpg"]
    assert found.files[0].metadata == Metadata(name="K5", kind="세단")


def test_keys_of_two_folders_are_told_apart(tmp_path):
    touch(tmp_path, "one/1.jpg", "one/only.jpg", "two/1.jpg", "x/two/1.jpg")
    found = find_photos([tmp_path / "one", tmp_path / "two", tmp_path / "x" / "two"])
    assert keys(found) == ["one/1.jpg", "only.jpg", "two/1.jpg", "two/1 (2).jpg"]


def test_a_number_takes_no_other_photos_key(tmp_path):
    touch(tmp_path, "a/s/1.jpg", "b/s/1.jpg", "c/s/1 (2).jpg", "s/s/1 (2).jpg")
    singles = [tmp_path / "a" / "s" / "1.jpg", tmp_path / "b" / "s" / "1.jpg"]
    found = find_photos([*singles, tmp_path / "c", tmp_path / "s"])
    assert len(set(keys(found))) == 4
    assert [file.path.name for file in found.files] == ["1.jpg", "1.jpg", "1 (2).jpg", "1 (2).jpg"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.json", '[{"image": "b/2.jpg", "name": "K5"}, {"image": "a 1.jpg"}]'),
        ("l.jsonl", '{"file_name": "b/2.jpg", "title": "K5"}\n{"file_name": "a 1.jpg"}\n'),
        ("l.csv", "파일명,차명\nb/2.jpg,K5\na 1.jpg,\n"),
        ("l.tsv", "path\tmodel\nb/2.jpg\tK5\na 1.jpg\t\n"),
        ("l.json", '["b/2.jpg", "a 1.jpg"]'),
    ],
)
def test_a_list_keeps_its_order_and_its_metadata(tmp_path, name, content):
    touch(tmp_path, "b/2.jpg", "a 1.jpg")
    (tmp_path / name).write_text(content, encoding="utf-8")
    found = find_photos(tmp_path / name)
    assert keys(found) == ["b/2.jpg", "a 1.jpg"]
    assert [file.path for file in found.files] == [tmp_path / "b/2.jpg", tmp_path / "a 1.jpg"]
    assert found.files[0].metadata.name == (None if content.startswith('["') else "K5")


def test_a_parquet_list_is_read(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"path": ["a.jpg"], "kind": ["SUV"]}), tmp_path / "l.parquet")
    (file,) = find_photos(touch(tmp_path, "a.jpg") / "l.parquet").files
    assert file == PhotoFile(location=str(tmp_path / "a.jpg"), key="a.jpg", metadata=Metadata(kind="SUV"))


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"carscribe\[parquet\]"):
        find_photos(touch(tmp_path, "l.parquet") / "l.parquet")


def test_a_listed_file_that_is_missing_stays(tmp_path):
    found = find_photos(
        table(touch(tmp_path, "a.jpg"), [{"image": "a.jpg"}, {"image": "gone\0/b.jpg"}, {"image": "c.jpg"}])
    )
    assert [file.path.name for file in found.files] == ["a.jpg", "b.jpg", "c.jpg"]


def test_absolute_and_foreign_paths_in_a_list_are_found(tmp_path):
    touch(tmp_path, "in/a.jpg", unicodedata.normalize("NFD", "in/그랜저.jpg"), "else/c.jpg")
    rows = [{"image": "in\\a.jpg"}, {"image": "in/그랜저.jpg"}, {"image": str(tmp_path / "else" / "c.jpg")}]
    found = find_photos(table(tmp_path, rows))
    assert all(file.path.exists() for file in found.files)
    assert keys(found)[:2] == ["in/a.jpg", "in/그랜저.jpg"]


def test_rows_without_a_photo_are_counted(tmp_path):
    found = find_photos(table(touch(tmp_path, "a.jpg"), [{"image": "a.jpg"}, {"name": "K5"}]))
    assert keys(found) == ["a.jpg"]
    assert found.ignored == {"(row without a photo)": 1}


def test_a_users_own_column_names_the_photo(tmp_path):
    listed = table(touch(tmp_path, "a.jpg"), [{"name": "K5", "shot": "a.jpg"}])
    with pytest.raises(PhotosError, match=r"names no photo.*'name', 'shot'.*keys"):
        find_photos(listed)
    assert keys(find_photos(listed, keys={"image": "shot"})) == ["a.jpg"]
    with pytest.raises(MetadataError, match="no column 'photo'"):
        find_photos(listed, keys={"image": "photo"})


@pytest.mark.parametrize(
    ("rows", "said"),
    [([], "has no rows"), ([{"image": "https://x.org/a.jpg"}], "Download them first")],
)
def test_a_list_of_nothing_to_read_says_so(tmp_path, rows, said):
    with pytest.raises(PhotosError, match=said):
        find_photos(table(tmp_path, rows))


@pytest.mark.parametrize(
    ("made", "given", "said"),
    [
        (["photos/a.jpg"], "phots", "Did you mean .*photos"),
        (["photos/Audi.jpg"], "photos/audi.jpeg", "Did you mean .*Audi.jpg"),
        (["photos/a.jpg"], "photos/nowhere/at/all.jpg", "exists, and has no nowhere in it"),
        (["notes/a.txt", "notes/b.txt", "notes/c"], "notes", r"it holds 2 × .txt, 1 × without suffix"),
        (["notes/.a.jpg"], "notes", "it is empty, or holds only hidden files"),
        (["a.docx"], "a.docx", r"no photo by its suffix \(.docx\)\. Give a folder"),
        (["a"], "a", r"no photo by its suffix \(none\)"),
        ([], "zero\0byte", "does not exist|cannot be looked up"),
        ([], "long" * 2000, "does not exist|cannot be looked up"),
        ([], "https://example.com/a.jpg", "It is an address"),
    ],
)
def test_where_no_photo_is_the_error_says_what_is(tmp_path, monkeypatch, made, given, said):
    monkeypatch.chdir(touch(tmp_path, *made))
    with pytest.raises(PhotosError, match=said) as caught:
        find_photos(Path(given))
    assert "\n" not in str(caught.value)


def test_a_photo_without_suffix_is_told_to_be_renamed(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "photo", "PNG")
    with pytest.raises(PhotosError, match=r"holds a PNG: rename it to photo\.png"):
        find_photos(tmp_path / "photo")


def test_no_source_at_all_is_an_error():
    with pytest.raises(PhotosError, match="No source"):
        find_photos([])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "p.jpg")
    with pytest.raises(PhotosError, match="pipe or a device"):
        find_photos(tmp_path / "p.jpg")
    touch(tmp_path, "a.jpg")
    assert keys(find_photos(tmp_path)) == ["a.jpg"]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="only Linux has names that are not text")
def test_a_name_that_is_no_text_gets_a_key_that_can_be_written(tmp_path):
    name = os.fsdecode("그랜저.jpg".encode("cp949"))
    (file,) = find_photos(touch(tmp_path, name)).files
    assert file.key.encode().endswith(b".jpg")
    assert file.path.read_bytes() == b"x"


def test_a_very_long_korean_path_is_found(tmp_path):
    deep = "/".join(["아주 긴 폴더 이름 " * 3] * 6) + "/사진 (1).jpg"
    try:
        touch(tmp_path, deep)
    except OSError:
        pytest.skip("this system does not take paths of this length")
    assert keys(find_photos(tmp_path)) == [deep]


def test_same_bytes_are_grouped_in_order(tmp_path):
    touch(tmp_path, "b.jpg", "d.jpg", "a.jpg", content=b"same")
    touch(tmp_path, "c.jpg", content=b"else")
    touch(tmp_path, "e.jpg", "f.jpg", content=b"other size")
    files = [
        PhotoFile(location=str(tmp_path / f"{name}.jpg"), key=name) for name in ("d", "a", "f", "c", "gone", "e", "b")
    ]
    files.append(PhotoFile(location=str(tmp_path), key="folder"))
    assert same_bytes(files) == (("d", "a", "b"), ("f", "e"))
    assert same_bytes([]) == ()


@pytest.mark.real_photos
@pytest.mark.skipif(not REAL_PHOTOS.is_dir(), reason=f"no real photographs at {REAL_PHOTOS}")
def test_real_photographs_are_found():
    found = find_photos(REAL_PHOTOS)
    assert len(found.files) == 44
    assert found.ignored == {".json": 2, ".md": 1}
    assert same_bytes(found.files) == ()
