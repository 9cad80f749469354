"""Captions left empty on purpose, shuffled, with and without names: per format, and at the command line."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from workspaces import make_workspace

from carscribe import export
from carscribe.catalog.verdicts import VerdictRow, correct
from carscribe.catalog.workspace import write_workspace
from carscribe.cli import exporting  # noqa: F401 - its command is it
from carscribe.cli.app import app
from carscribe.errors import InputError
from carscribe.records import DescribedPhoto

from .conftest import tree

Describe = Callable[..., DescribedPhoto]

SD_SCRIPTS = {
    "general": {"caption_extension": str, "shuffle_caption": bool, "keep_tokens": int, "caption_dropout_rate": float},
    "subset": {"image_dir": str},
}
"""What may stand where. Source: sd-scripts 0253472, library/config_util.py."""


def texts_of(to: Path, format_: str) -> list[str]:
    if format_ == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        return [row["text"] for row in parquet.read_table(to / "data").to_pylist()]
    name = {"imagefolder": "train/metadata.jsonl", "paths": "paths.jsonl", "jsonl": "captions.jsonl"}[format_]
    return [json.loads(line)["text"] for line in (to / name).read_text("utf-8").splitlines()]


@pytest.mark.parametrize("format_", ["imagefolder", "paths", "jsonl", "parquet"])
def test_a_share_of_captions_is_empty_and_the_same_for_a_seed(described: Describe, to: Path, format_: str) -> None:
    photos = [described(f"{i}.png", f"car {i}") for i in range(60)]
    empty = {}
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        settings = export.CaptionSettings(dropout=0.3, seed=seed)
        report = export.write(format_, photos, to / name, captions=settings)
        texts = texts_of(to / name, format_)
        empty[name] = [i for i, text in enumerate(texts) if not text]
        assert [text for text in texts if text] == [f"car {i}" for i in range(60) if i not in empty[name]]
        assert (report.photos, report.dropped_out, report.empty.count) == (60, len(empty[name]), 0)
    assert empty["first"] == empty["again"] != empty["other"]
    assert 8 <= len(empty["first"]) <= 28


def test_which_captions_are_empty_depends_on_the_photo_and_not_on_the_others(described: Describe, to: Path) -> None:
    photos = [described(f"{i}.png", f"car {i}") for i in range(40)]
    settings = export.CaptionSettings(dropout=0.5)
    export.write("paths", photos, to / "all", captions=settings)
    export.write("paths", photos[::-2], to / "some", captions=settings)
    assert {*texts_of(to / "some", "paths")} - {""} <= {*texts_of(to / "all", "paths")}


@pytest.mark.parametrize("share", [-0.1, 1.0, 2])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="from 0 to less than 1"):
        export.CaptionSettings(dropout=share)


@pytest.mark.parametrize("images", ["copy", "none"])
def test_kohya_gets_its_own_settings_and_no_empty_caption(described: Describe, to: Path, images: str) -> None:
    settings = export.CaptionSettings(dropout=0.9, shuffled=True, fixed_parts=2)
    photos = [described(f"{i}.png") for i in range(5)]
    photos.append(described("dataset_config.toml"))
    report = export.write("kohya", photos, to, images=images, captions=settings)  # type: ignore[arg-type]
    assert (report.photos, report.dropped_out) == (6, 0)
    assert all(path.read_text("utf-8").strip() for path in to.glob("*.txt"))
    config = tomllib.loads((to / "dataset_config.toml").read_text("utf-8"))
    assert config["general"] == {
        "caption_extension": ".txt",
        "shuffle_caption": True,
        "keep_tokens": 2,
        "caption_dropout_rate": 0.9,
    }
    ((subset,),) = [each["subsets"] for each in config["datasets"]]
    assert Path(subset["image_dir"]) == to.absolute()
    for given, known in ((config["general"], SD_SCRIPTS["general"]), (subset, SD_SCRIPTS["subset"])):
        assert {key: type(value) for key, value in given.items()}.items() <= known.items()


def test_kohya_without_variants_holds_captions_and_nothing_else(described: Describe, to: Path) -> None:
    export.write("kohya", [described("a.png")], to)
    assert tree(to) == ["a.png", "a.txt"]
    export.write("kohya", [described("a.png")], to, overwrite=True, captions=export.CaptionSettings(dropout=0.1))
    assert tree(to) == ["a.png", "a.txt", "dataset_config.toml"]
    export.write("kohya", [described("a.png")], to, overwrite=True)
    assert tree(to) == ["a.png", "a.txt"]


SAID = "Kia's slim lamps, red Niro, floating roof, short overhangs, black roof rails, two-tone body"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photos with a name, whose answers hold it."""
    folder = tmp_path_factory.mktemp("이름")
    metadata = folder / "cars.json"
    rows = [{"image": f"차 {i}.png", "name": "기아 니로"} for i in range(5)]
    metadata.write_text(json.dumps([*rows, {"image": "차 5.png", "name": "현대 포니"}]), "utf-8")
    workspace = make_workspace(folder, photos=6, metadata=metadata)
    with write_workspace(workspace, create=False) as opened:
        taught = [
            {"photo": f"차 {i}.png", "question": "wheels", "language": "en", "verdict": "edited", "text": SAID}
            for i in range(6)
        ]
        correct(opened, [VerdictRow(where=f"row {i}", values=row) for i, row in enumerate(taught)])
    return workspace


def run(workspace: Path, to: Path, *options: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["export", str(workspace), "--to", str(to), "--json", *options])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def captions(workspace: Path, to: Path, *options: str) -> list[str]:
    run(workspace, to, "--format", "paths", *options)
    return texts_of(to, "paths")


def test_names_are_kept_dropped_or_put_first(workspace: Path, to: Path) -> None:
    kept = captions(workspace, to / "keep")
    dropped = captions(workspace, to / "drop", "--names", "drop", "--trigger", "sks")
    first = captions(workspace, to / "first", "--names", "first", "--trigger", "sks")
    assert all("Kia's slim lamps, red Niro" in text for text in kept)
    assert all(text.startswith("sks, ") and "slim lamps" in text for text in dropped)
    assert not [text for text in dropped[:5] if "kia" in text.lower() or "niro" in text.lower()]
    assert all(text.startswith("sks, Kia Niro, ") for text in first[:5])
    assert "Kia's" in dropped[5], "another car's name is none of this one's"
    assert not first[5].startswith("sks, 현대"), "CLIP does not read Hangul, and no other spelling is known"


def test_a_name_that_cannot_be_put_first_is_counted(workspace: Path, to: Path) -> None:
    told = run(workspace, to / "clip", "--format", "paths", "--names", "first")
    assert told["composed"]["nameless"] == 1
    told = run(workspace, to / "none", "--format", "paths", "--names", "first", "--budget", "none")
    assert told["composed"]["nameless"] == 0
    assert texts_of(to / "none", "paths")[5].startswith("현대 포니, ")


def test_shuffled_captions_differ_by_photo_and_hold_the_budget(workspace: Path, to: Path) -> None:
    options = ("--shuffle", "--seed", "3", "--trigger", "sks", "--keep-tokens", "2")
    texts = captions(workspace, to / "one", *options)
    assert texts == captions(workspace, to / "again", *options)
    assert len(set(texts)) > 3
    plain = captions(workspace, to / "plain", "--trigger", "sks")
    for text, as_composed in zip(texts, plain, strict=True):
        assert sorted(text.split(", ")) == sorted(as_composed.split(", "))
        assert text.split(", ")[:2] == as_composed.split(", ")[:2]
    tokens = [row["tokens"] for row in _rows(workspace, to / "jsonl", *options)]
    assert all(count <= 77 for count in tokens)


def _rows(workspace: Path, to: Path, *options: str) -> list[dict[str, Any]]:
    run(workspace, to, "--format", "jsonl", *options)
    return [json.loads(line) for line in (to / "captions.jsonl").read_text("utf-8").splitlines()]


def test_kohya_is_told_how_many_parts_stay_in_front(workspace: Path, to: Path) -> None:
    options = ("--format", "kohya", "--shuffle", "--trigger", "sks", "--prefix", "a car, studio", "--names", "first")
    run(workspace, to, *options, "--caption-dropout", "0.1")
    config = tomllib.loads((to / "dataset_config.toml").read_text("utf-8"))["general"]
    assert (config["shuffle_caption"], config["keep_tokens"], config["caption_dropout_rate"]) == (True, 4, 0.1)
    assert (to / "차 0.txt").read_text("utf-8").startswith("sks, a car, studio, Kia Niro, ")


def test_shards_are_as_large_as_asked(workspace: Path, to: Path) -> None:
    run(workspace, to / "photos", "--format", "webdataset", "--shard-photos", "4")
    assert tree(to / "photos") == ["000000.tar", "000001.tar"]
    run(workspace, to / "size", "--format", "webdataset", "--shard-size", "0.5KiB")
    assert len(tree(to / "size")) == 6


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--names", "no"], "--names takes keep, drop, first, not 'no'"),
        (["--caption-dropout", "1"], "from 0 to less than 1, not 1.0"),
        (["--keep-tokens", "1"], "give --shuffle, too"),
        (["--seed", "1"], "--seed is for --shuffle, --caption-dropout and fine-tuning sets"),
        (["--shard-size", "1GB"], "--shard-size and --shard-photos are for parquet, webdataset, datasets, not"),
        (["--format", "parquet", "--shard-size", "big"], "--shard-size 'big' is no size. Write 500MB"),
        (["--format", "parquet", "--shard-size", "0"], "at least one photo and one byte"),
        (["--format", "trl", "--names", "drop"], "--names is for descriptions"),
        (["--format", "trl", "--shuffle"], "--shuffle is for descriptions"),
        (["--format", "csv", "--checked", "x.json"], "--checked is for fine-tuning sets"),
        (["--format", "trl", "--checked", "x.json"], "x.json"),
    ],
)
def test_what_would_have_no_effect_is_refused(workspace: Path, to: Path, options: list[str], says: str) -> None:
    with pytest.raises(InputError) as refused:
        run(workspace, to, *options)
    assert says in str(refused.value)
    assert not to.exists()
