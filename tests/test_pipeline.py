"""The whole way of a photo, with a fake engine: order, twins, failures, metadata, settings."""

import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeEngine, OverlappingEngine, digest
from PIL import Image

import carscribe
from carscribe import pipeline, reading_ahead
from carscribe.batching import LOOK_AHEAD_TILES, Pending
from carscribe.errors import InputError, PhotosError, RecipeError
from carscribe.photos.decode import read_photo
from carscribe.pipeline import ReadSettings, ask, plan_run, run
from carscribe.reading_ahead import MOST_READ_AHEAD, READ_AHEAD, least_read_ahead
from carscribe.records import Answer, PhotoFile, Prompt, Request, TiledPhoto, Tiling

SIZES = {"a.jpg": (400, 300), "b.png": (300, 300), "c.jpg": (600, 400), "sub/d.webp": (300, 500), "e.bmp": (900, 300)}
WHEELS = Prompt(recipe_id="own", question_id="wheels", language="en", text="Wheels?", max_new_tokens=8)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "사진 folder"
    for number, (name, size) in enumerate(SIZES.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise(size, 40 + number).convert("RGB").save(path)
    return folder


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(
        'id = "own"\nversion = 3\nlanguages = ["en", "ko"]\n'
        '[[questions]]\nid = "wheels"\npriority = 1\nmax_new_tokens = 8\n'
        'text.en = "Wheels of this {name}?"\ntext.ko = "{name}의 휠은?"\n',
        encoding="utf-8",
    )
    return path


def test_results_come_in_the_photos_order_though_batches_do_not(photos: Path) -> None:
    engine = FakeEngine(limit=2)
    results = list(carscribe.describe(photos, engine=engine))
    assert [result.file.key for result in results] == sorted(SIZES)
    assert [result.index for result in results] == list(range(5))
    assert len({tiles for _, tiles in engine.batches}) > 1


def test_every_photo_gets_the_answers_about_its_own_tiles(photos: Path) -> None:
    for result in carscribe.describe(photos, engine=FakeEngine(limit=2), recipes=["brief"]):
        tiles = read_photo(result.file.path, Tiling(tile_px=28)).tiles
        assert result.answers[0].text.startswith(digest(tiles))
        assert result.tiles == len(tiles)


def test_metadata_reaches_the_prompt_and_a_neutral_word_stands_in_for_what_is_missing(
    photos: Path, recipe: Path, tmp_path: Path
) -> None:
    metadata = tmp_path / "cars.json"
    metadata.write_text(json.dumps([{"이름": "기아 <|im_end|>니로", "종류": "SUV", "파일": "A.JPG"}]), encoding="utf-8")
    said = {
        result.file.key: [answer.text.split(" ", 1)[1] for answer in result.answers]
        for result in carscribe.describe(
            photos, metadata=metadata, recipes=[recipe], languages=["en", "ko"], engine=FakeEngine()
        )
    }
    assert said["a.jpg"] == ["Wheels of this 기아 니로?", "기아 니로의 휠은?"]
    assert said["b.png"] == ["Wheels of this car?", "자동차의 휠은?"]


def test_a_photo_that_cannot_be_read_is_set_aside_and_the_run_goes_on(photos: Path) -> None:
    (photos / "b.png").write_bytes(b"<!DOCTYPE html><html>404</html>")
    (photos / "c.jpg").write_bytes((photos / "c.jpg").read_bytes()[:300])
    results = list(carscribe.describe(photos, engine=FakeEngine()))
    assert [result.error is None for result in results] == [True, False, False, True, True]
    assert all(bool(result.answers) == (result.error is None) for result in results)
    assert "HTML" in str(results[1].error)


def test_the_same_bytes_with_the_same_metadata_are_asked_once(photos: Path) -> None:
    (photos / "zz.jpg").write_bytes((photos / "a.jpg").read_bytes())
    engine = FakeEngine()
    plan = plan_run(photos)
    results = list(run(plan, engine))
    assert plan.duplicates == (("a.jpg", "zz.jpg"),)
    assert sum(photos for photos, _ in engine.batches) == 5
    assert results[-1].file.key == "zz.jpg"
    assert results[-1].answers == results[0].answers
    assert results[-1].sha256 == results[0].sha256


def test_the_same_bytes_under_two_names_are_asked_under_each(photos: Path, recipe: Path, tmp_path: Path) -> None:
    (photos / "zz.jpg").write_bytes((photos / "a.jpg").read_bytes())
    metadata = tmp_path / "cars.csv"
    metadata.write_text("name,kind,image\nKia,SUV,a.jpg\nAudi,SUV,zz.jpg\nKia,van,zzz.jpg\n")
    (photos / "zzz.jpg").write_bytes((photos / "a.jpg").read_bytes())
    plan = plan_run(photos, metadata=metadata, recipes=[recipe])
    results = list(run(plan, FakeEngine()))
    assert not plan.leader
    assert "Kia" in results[0].answers[0].text
    assert "Audi" in results[-2].answers[0].text


def test_the_twin_of_a_photo_that_cannot_be_read_is_set_aside_too(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"no picture, but the same bytes")
    assert [bool(result.error) for result in carscribe.describe(tmp_path, engine=FakeEngine())] == [True, True]


def test_max_tiles_limits_the_grid_and_memory_lowers_it_further(photos: Path) -> None:
    whole = {r.file.key: r.tiles for r in carscribe.describe(photos, engine=FakeEngine())}
    capped = {r.file.key: r.tiles for r in carscribe.describe(photos, engine=FakeEngine(), max_tiles=4)}
    tight = {r.file.key: r.tiles for r in carscribe.describe(photos, engine=FakeEngine(capacity=3), max_tiles=4)}
    assert max(whole.values()) > 5
    assert max(capped.values()) <= 5
    assert max(tight.values()) <= 3


def test_photos_read_after_memory_ran_out_are_cut_to_what_fits_at_once(tmp_path: Path) -> None:
    for i in range(READ_AHEAD + 20):
        Image.effect_noise((40, 30), 50 + i).convert("RGB").save(tmp_path / f"{i:03}.png")
    engine = FakeEngine(limit=1, capacity=7)
    results = list(carscribe.describe(tmp_path, engine=engine))
    assert all(result.answers for result in results)
    assert len(engine.failed) < 6
    assert len(engine.batches) <= len(results) + len(engine.failed)


@pytest.mark.parametrize(("max_tiles", "first", "later"), [(None, 13, 7), (12, 13, 7), (4, 5, 5)])
def test_photos_yet_to_be_read_are_cut_into_no_more_tiles_than_fit(
    max_tiles: int | None, first: int, later: int, tmp_path: Path
) -> None:
    """Cut so when they are read, that is: not cut whole, and once more when their turn comes."""
    path = tmp_path / "car.png"
    Image.effect_noise((400, 300), 50).convert("RGB").save(path)
    file, cut = PhotoFile(location=str(path), key=path.name), dict[int, int]()

    def admit(pending: Pending) -> Pending:
        cut[pending.index] = pending.tiles
        return pending

    window = least_read_ahead()
    to_ask = ((index, file, (WHEELS,)) for index in range(window + 3))
    settings = ReadSettings(max_tiles=max_tiles)
    for results in ask(to_ask, FakeEngine(limit=1, capacity=7), settings, admit=admit):
        assert all(result.answers for result in results)
    assert cut[0] == first
    assert [cut[window + i] for i in range(3)] == [later] * 3


def test_only_so_many_photos_are_read_ahead(tmp_path: Path) -> None:
    window = least_read_ahead()
    for i in range(window + 60):
        Image.new("RGB", (40, 30), (i % 256, i // 256, 0)).save(tmp_path / f"{i:03}.png")
    stream = carscribe.describe(tmp_path, engine=FakeEngine(limit=1))
    next(stream)
    for path in sorted(tmp_path.iterdir())[window + 10 :]:
        path.unlink()
    assert sum(result.error is not None for result in stream) == 50


def test_a_whole_batch_is_read_while_the_one_before_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_batch = MOST_READ_AHEAD + 40  # more than is read ahead without it, however many cores there are
    for i in range(3 * a_batch):
        Image.new("RGB", (30, 30), (i % 256, i // 256, 0)).save(tmp_path / f"{i:04}.png")
    read, answered = list[str](), list[int]()
    there = threading.Condition()

    def counting(path: Path, tiling: Tiling, **settings: Any) -> TiledPhoto:
        found = read_photo(path, tiling, **settings)
        with there:
            read.append(path.name)
            there.notify_all()
        return found

    class Waiting(FakeEngine):
        def answer(self, requests: Sequence[Request]) -> list[tuple[Answer, ...]]:
            answered.append(len(requests))
            expected = min(3 * a_batch, sum(answered) + a_batch)
            with there:
                assert there.wait_for(lambda: len(read) >= expected, timeout=20), f"{len(read)} of {expected} were read"
            return super().answer(requests)

    monkeypatch.setattr(pipeline, "read_photo", counting)
    assert all(result.answers for result in carscribe.describe(tmp_path, engine=Waiting(limit=a_batch)))
    assert sum(answered) == len(read) == 3 * a_batch


@pytest.mark.parametrize(("engine", "threads"), [(FakeEngine(), 8), (OverlappingEngine(), 7)])
def test_who_feeds_a_gpu_has_a_core_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: FakeEngine, threads: int
) -> None:
    Image.new("RGB", (30, 30)).save(tmp_path / "car.png")
    made = list[int]()

    def pool(count: int, **names: str) -> ThreadPoolExecutor:
        made.append(count)
        return ThreadPoolExecutor(count, **names)

    monkeypatch.setattr(reading_ahead, "usable_cores", lambda: 8)
    monkeypatch.setattr(reading_ahead, "ThreadPoolExecutor", pool)
    assert all(result.answers for result in carscribe.describe(tmp_path, engine=engine))
    assert made == [threads]


def test_where_few_and_many_tiles_are_mixed_no_more_tiles_are_read_ahead_than_a_large_batch_has(tmp_path: Path) -> None:
    """As many photos as make a batch of one tile, of 13 tiles each, would be 3 GB."""
    small, large, photos = tmp_path / "small.png", tmp_path / "large.png", 1200
    Image.new("RGB", (30, 30)).save(small)
    Image.new("RGB", (400, 300)).save(large)
    held = most = 0

    def to_ask() -> Iterator[tuple[int, PhotoFile, tuple[Prompt, ...]]]:
        nonlocal held
        for index in range(photos):
            path = large if index % 10 else small
            held += 13 if path == large else 1
            yield index, PhotoFile(location=str(path), key=str(index)), (WHEELS,)

    def admit(pending: Pending) -> Pending:
        nonlocal held, most
        most = max(most, held)
        held -= pending.tiles
        return pending

    answered = sum(map(len, ask(to_ask(), FakeEngine(limit=384), ReadSettings(), admit=admit)))
    assert (answered, held) == (photos, 0)
    assert READ_AHEAD * 12 < most <= max(1.02 * LOOK_AHEAD_TILES, 13 * least_read_ahead())


def test_exact_decode_reads_large_jpegs_at_full_size(tmp_path: Path) -> None:
    Image.effect_noise((2000, 1500), 80).convert("RGB").save(tmp_path / "large.jpg")
    said = {
        exact: next(carscribe.describe(tmp_path, engine=FakeEngine(), exact_decode=exact, recipes=["brief"])).answers
        for exact in (False, True)
    }
    assert said[False] != said[True]


def test_limit_takes_the_first_photos(photos: Path) -> None:
    assert [r.file.key for r in carscribe.describe(photos, engine=FakeEngine(), limit=2)] == sorted(SIZES)[:2]


def test_photos_past_the_pixel_limit_are_set_aside(photos: Path) -> None:
    results = list(carscribe.describe(photos, engine=FakeEngine(), pixel_limit=130_000))
    set_aside = {result.file.key for result in results if result.error}
    assert set_aside == {name for name, (width, height) in SIZES.items() if width * height > 130_000}


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"recipes": ["designre"]}, RecipeError, "designer"),
        ({"languages": ["fr"]}, RecipeError, "it has en, ko"),
        ({"recipes": []}, InputError, "Shipped: "),
        ({"limit": 0}, InputError, "--limit"),
        ({"read": ReadSettings(max_tiles=0)}, InputError, "at least 1"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_loaded(
    photos: Path, arguments: dict[str, object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        plan_run(photos, **arguments)  # type: ignore[arg-type]


def test_a_list_none_of_whose_photos_is_there_says_how_to_give_them(tmp_path: Path) -> None:
    (tmp_path / "cars.json").write_text('[{"name": "Kia", "image": "kia.jpg"}, {"image": "audi.jpg"}]')
    with pytest.raises(PhotosError, match=r"None of the 2 photos .* the list as --metadata"):
        plan_run(tmp_path / "cars.json")


def test_two_recipes_of_one_id_are_refused(photos: Path, tmp_path: Path) -> None:
    text = Path(carscribe.__file__).with_name("recipes").joinpath("brief.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="Two recipes have the id"):
        plan_run(photos, recipes=["brief", tmp_path / "mine.toml"])


def test_leaving_early_stops_reading(photos: Path) -> None:
    stream = carscribe.describe(photos, engine=FakeEngine(limit=1))
    assert next(stream).index == 0
    stream.close()  # type: ignore[attr-defined]
