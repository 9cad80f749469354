"""Choices that a person should look at: against the crawled kind, or unsure; and no more once a person judged them."""

import json
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from scripted import Script, ScriptedEngine, paint_photos, scripted_workspace
from typer.testing import CliRunner
from workspaces import put_back

import carscribe
from carscribe.catalog.calibration import Calibration, keep_calibration
from carscribe.catalog.flagged import count_flagged, flagged_files
from carscribe.catalog.reading import kept_photos
from carscribe.catalog.verdicts import VerdictRow, correct
from carscribe.catalog.workspace import read_workspace, write_workspace
from carscribe.cli import workspaces  # noqa: F401 - its commands are what is run
from carscribe.cli.app import app
from carscribe.errors import InputError
from carscribe.flags import DOUBT, LEAST_SURE, FlaggedPhoto, flags_of, flags_of_photo
from carscribe.output import json_line
from carscribe.records import Answer, Flag, FlagCounts, PhotoFile, PhotoResult
from carscribe.tally import Tally
from carscribe.terminal.flagged import show_flagged
from carscribe.terminal.screen import Screen

RENDERS = Path(__file__).parents[1] / "demo" / "photos" / "images"
SURE = {"sedan": 0.9, "wagon": 0.1}


def choice(text: str, *, question: str = "body_type", language: str = "en", **more: Any) -> Answer:
    said = {"scores": {text: 0.9, "(another)": 0.1}, "mass": 0.9, "finish": "choice"} | more
    return Answer(recipe_id="designer", question_id=question, language=language, text=text, tokens=1, **said)


@pytest.mark.parametrize(
    ("kind", "text", "flagged"),
    [
        ("세단", "sedan", False),
        ("세단", "SUV", True),
        ("세단", "왜건", True),
        ("준중형 세단", "세단", False),
        ("Station Wagon", "왜건", False),
        ("Station Wagon", "hatchback", True),
        ("SUV", "minivan", True),
        ("RV", "SUV", False),
        ("RV", "미니밴", False),
        ("중형 RV", "van", False),
        ("RV", "세단", True),
        ("RV/SUV", "minivan", False),
        ("승합차", "minivan", False),
        ("세단/해치백", "hatchback", False),
        ("세단/해치백", "SUV", True),
        ("\u1109\u1166\u1103\u1161\u11ab", "sedan", False),
        ("화물", "sedan", False),
        ("", "sedan", False),
        (None, "sedan", False),
        ("세단", "spaceship", False),
    ],
)
def test_a_body_type_is_held_against_all_that_the_crawled_kind_means(
    kind: str | None, text: str, flagged: bool
) -> None:
    expected = Flag(recipe_id="designer", question_id="body_type", language="en", why="kind", answered=text, kind=kind)
    assert flags_of(choice(text), kind) == ((expected,) if flagged else ())


@pytest.mark.parametrize(
    "answer",
    [
        choice("white", question="main_colour"),
        choice("SUV", question="silhouette"),
        Answer(recipe_id="designer", question_id="body", language="en", text="SUV", tokens=1, finish="stop"),
        Answer(recipe_id="brief", question_id="brief", language="en", text="a red SUV", tokens=3, finish="stop"),
    ],
    ids=lambda answer: answer.question_id,
)
def test_only_a_choice_that_states_the_body_type_is_held_against_the_kind(answer: Answer) -> None:
    assert flags_of(answer, "세단") == ()


@pytest.mark.parametrize(
    ("scores", "mass", "temperature", "low"),
    [
        ({"red": 0.9, "blue": 0.1}, 0.9, None, None),
        ({"red": 0.5, "blue": 0.5}, 0.5, None, None),
        ({"red": 0.4, "blue": 0.35, "gray": 0.25}, 0.9, None, {"score": 0.4}),
        ({"red": 0.9, "blue": 0.1}, 0.3, None, {"mass": 0.3}),
        ({"red": 0.4, "blue": 0.35, "gray": 0.25}, 0.3, None, {"score": 0.4, "mass": 0.3}),
        ({"red": 0.8, "blue": 0.1, "gray": 0.1}, 0.9, 1.0, None),
        ({"red": 0.8, "blue": 0.1, "gray": 0.1}, 0.9, 5.0, {"confidence": 0.43}),
        ({"red": 0.4, "blue": 0.35, "gray": 0.25}, 0.9, 0.1, None),
        ({"red": 0.4, "blue": 0.35, "gray": 0.25}, 0.3, 0.1, {"mass": 0.3}),
        ({"red": 0.9, "blue": 0.1}, None, None, None),
    ],
)
def test_a_choice_is_unsure_by_its_score_or_in_its_place_confidence_and_by_its_mass(
    scores: Mapping[str, float], mass: float | None, temperature: float | None, low: Mapping[str, float] | None
) -> None:
    flags = flags_of(choice("red", question="main_colour", scores=scores, mass=mass), "SUV", temperature)
    assert [flag.why for flag in flags] == (["unsure"] if low else [])
    for flag in flags:
        figures = {"score": flag.score, "confidence": flag.confidence, "mass": flag.mass}
        assert {name: figure for name, figure in figures.items() if figure is not None} == pytest.approx(low, abs=0.01)
        assert flag.kind is None


def test_a_choice_may_be_flagged_for_both() -> None:
    both = flags_of(choice("SUV", scores={"SUV": 0.4, "van": 0.3, "wagon": 0.3}), "세단")
    assert [(flag.why, flag.kind, flag.score) for flag in both] == [("kind", "세단", None), ("unsure", None, 0.4)]


KINDS = ("세단", "세단", "RV", "화물", None, "SUV")
SAID = ("sedan", "wagon", "minivan", "SUV", "SUV", "SUV")
KOREAN = {"sedan": "세단", "wagon": "왜건", "minivan": "미니밴", "SUV": "SUV"}


def write_kinds(folder: Path, kinds: Sequence[str | None]) -> Path:
    rows = [{"image": f"car-{i}.png", "name": "Kia", "kind": kind} for i, kind in enumerate(kinds)]
    (folder / "cars.json").write_text(json.dumps(rows, ensure_ascii=False), "utf-8")
    return folder / "cars.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six photos in two languages: 1 against its kind in both, 2 in Korean; 4 unsure in English, 5 by its mass."""
    script: dict[tuple[int, str, str], str | Mapping[str, float]] = {
        (i, "body_type", language): {text if language == "en" else KOREAN[text]: 0.9}
        for i, text in enumerate(SAID)
        for language in ("en", "ko")
    }
    script |= {(2, "body_type", "ko"): {"세단": 0.9}, (4, "body_type", "en"): {"SUV": 0.4, "van": 0.3, "wagon": 0.3}}
    engine = ScriptedEngine(script, masses={(5, "main_colour"): 0.2})
    scripted_workspace(tmp_path, {}, photos=len(KINDS), metadata=write_kinds(tmp_path, KINDS), engine=engine)
    return tmp_path


def run(folder: Path, *arguments: str) -> Any:
    """What a command says about the workspace, parsed when it is JSON."""
    done = CliRunner().invoke(app, [arguments[0], str(folder / "workspace"), *arguments[1:]], env={"COLUMNS": "160"})
    if done.exception:
        raise done.exception
    return json.loads(done.stdout) if "--json" in arguments else done.stdout


def flagged(folder: Path) -> list[tuple[str, str, str, str, str]]:
    """Every flag that `show --flagged` knows."""
    return [
        (photo["photo"], flag["question"], flag["language"], flag["why"], flag["answered"])
        for photo in run(folder, "show", "--flagged", "--json")
        for flag in photo["flags"]
    ]


def in_json(**known: object) -> dict[str, object]:
    """A flag of a body type as JSON has it."""
    names = ("recipe", "question", "language", "why", "answered", "kind", "score", "confidence", "mass")
    return dict.fromkeys(names) | {"recipe": "designer", "question": "body_type"} | known


ALL = [
    ("car-1.png", "body_type", "en", "kind", "wagon"),
    ("car-1.png", "body_type", "ko", "kind", "왜건"),
    ("car-2.png", "body_type", "ko", "kind", "세단"),
    ("car-4.png", "body_type", "en", "unsure", "SUV"),
    ("car-5.png", "main_colour", "en", "unsure", "white"),
    ("car-5.png", "main_colour", "ko", "unsure", "흰색"),
]


def test_flagged_photos_are_shown_and_counted(folder: Path) -> None:
    assert flagged(folder) == ALL
    assert run(folder, "status", "--json")["flagged"] == {"photos": 4, "kind": 2, "unsure": 2}
    status = run(folder, "status")
    assert "Flagged    4 photos (2 against the crawled kind, 2 unsure); see: carscribe show " in status
    shown = run(folder, "show", "--flagged")
    for said in ("the crawled kind is 세단", "the crawled kind is RV", "unsure: score 0.40", "unsure: mass 0.20"):
        assert said in shown
    for photo in ("car-0.png", "car-3.png"):
        assert photo not in shown


def test_a_flag_is_a_line_and_names_its_recipe_where_two_have_the_question(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    def shown(*recipes: str) -> list[str]:
        asked = {"question_id": "body_type", "language": "en", "answered": "convertible"}
        flags = tuple(Flag(recipe_id=recipe, **asked, why="kind", kind="해치백") for recipe in recipes)
        photo = FlaggedPhoto(file=PhotoFile(location="", key="bmw-x3-m40i-g01.jpg"), sha256="0", flags=flags)
        show_flagged(Screen(), Path("cars.ws"), [photo], 1)
        return capsys.readouterr().out.splitlines()

    row = ["bmw-x3-m40i-g01.jpg", "body_type", "(en)", "convertible", "the", "crawled", "kind", "is", "해치백"]
    assert shown("designer")[1].split() == row
    both = "\n".join(shown("own", "designer"))
    assert "own.body_type" in both
    assert "designer.body_type" in both


def test_flagged_photos_are_shown_up_to_a_limit_and_of_a_recipe_language_and_model(folder: Path) -> None:
    first = run(folder, "show", "--flagged", "--limit", "1")
    assert "car-1.png" in first
    assert "car-2.png" not in first
    assert "… and 3 more photos: --limit 4, or --json." in first
    assert [photo["photo"] for photo in run(folder, "show", "--flagged", "--json", "--limit", "2")] == [
        *("car-1.png", "car-2.png"),
    ]
    english = run(folder, "show", "--flagged", "--language", "en", "--recipe", "designer", "--json")
    assert [photo["photo"] for photo in english] == ["car-1.png", "car-4.png", "car-5.png"]
    assert {flag["language"] for photo in english for flag in photo["flags"]} == {"en"}
    right = {
        (i, "body_type", "en"): {text: 0.9} for i, text in enumerate(("sedan", "sedan", "SUV", "SUV", "SUV", "SUV"))
    }
    scripted_workspace(folder, right, photos=6, metadata=folder / "cars.json", model="another", languages=["en"])
    assert run(folder, "show", "--flagged", "--language", "en", "--json") == []
    assert "Flagged    no photos" in run(folder, "show", "--flagged", "--language", "en")
    assert run(folder, "show", "--flagged", "--language", "en", "--model", "scripted", "--json") == english


def test_a_photo_is_shown_with_its_flags(folder: Path) -> None:
    shown = run(folder, "show", "car-1.png")
    assert "Flagged    designer.body_type (en) is wagon; the crawled kind is 세단" in shown
    assert "! wagon" in shown
    assert "! 왜건" in shown
    machine = run(folder, "show", "car-1.png", "--json")
    assert machine["flags"] == [
        in_json(language=language, why="kind", answered=text, kind="세단")
        for language, text in (("en", "wagon"), ("ko", "왜건"))
    ]
    unflagged = run(folder, "show", "car-0.png")
    assert "Flagged" not in unflagged
    assert "! " not in unflagged
    assert run(folder, "show", "car-0.png", "--json")["flags"] == []


def test_control_characters_of_a_crawled_kind_do_not_reach_the_terminal(folder: Path) -> None:
    write_kinds(folder, ("\x1b[31m\x07\u202e 왜건", None, None, None, None, None))
    described(folder)
    for arguments in (("show", "--flagged"), ("show", "car-0.png")):
        said = run(folder, *arguments)
        assert "the crawled kind is" in said
        assert not {"\x1b", "\x07", "\u202e"} & set(said)


@pytest.mark.parametrize("verdict", ["approved", "edited", "rejected"])
def test_a_verdict_takes_the_flag_of_its_answer_away(folder: Path, verdict: str) -> None:
    text = {"edited": "세단"}.get(verdict, "")
    values = {"photo": "car-2.png", "question": "body_type", "language": "ko", "verdict": verdict, "text": text}
    with write_workspace(folder / "workspace", create=False) as opened:
        correct(opened, [VerdictRow(where="line 1", values=values)])
    assert flagged(folder) == [flag for flag in ALL if flag[0] != "car-2.png"]
    assert run(folder, "status", "--json")["flagged"] == {"photos": 3, "kind": 1, "unsure": 2}
    shown = run(folder, "show", "car-2.png")
    assert "Flagged" not in shown
    assert "! " not in shown
    assert {result.file.key for result in described(folder) if result.flags} == {"car-1.png", "car-4.png", "car-5.png"}


def test_a_verdict_in_one_language_leaves_the_flag_of_the_other(folder: Path) -> None:
    values = {"photo": "car-1.png", "question": "body_type", "language": "ko", "verdict": "approved"}
    with write_workspace(folder / "workspace", create=False) as opened:
        correct(opened, [VerdictRow(where="line 1", values=values)])
    assert flagged(folder) == [flag for flag in ALL if flag[:3] != ("car-1.png", "body_type", "ko")]
    assert run(folder, "status", "--json")["flagged"] == {"photos": 4, "kind": 2, "unsure": 2}
    korean = run(folder, "show", "--flagged", "--language", "ko", "--json")
    assert [photo["photo"] for photo in korean] == ["car-2.png", "car-5.png"]


def described(folder: Path, **options: Any) -> list[PhotoResult]:
    asked: dict[str, Any] = {"metadata": folder / "cars.json", "languages": ["en", "ko"], "engine": ScriptedEngine({})}
    return list(carscribe.describe(folder / "photos", **asked | {"workspace": folder / "workspace"} | options))


def test_a_rejection_is_of_one_answer_and_the_next_one_is_flagged_again(folder: Path) -> None:
    values = {"photo": "car-1.png", "question": "body_type", "language": "en", "verdict": "rejected"}
    with write_workspace(folder / "workspace", create=False) as opened:
        correct(opened, [VerdictRow(where="line 1", values=values)])
    another = ScriptedEngine({(1, "body_type", "en"): {"van": 0.9}}, model="another")
    described(folder, engine=another)
    assert ("car-1.png", "body_type", "en", "kind", "van") in flagged(folder)


def test_another_kind_from_the_crawl_moves_the_flags_and_asks_nothing(folder: Path) -> None:
    write_kinds(folder, ("왜건", "왜건", "세단", None, None, None))
    engine = ScriptedEngine({})
    found = described(folder, engine=engine)
    assert engine.prompts == 0
    assert {result.file.key for result in found if any(flag.why == "kind" for flag in result.flags)} == {
        *("car-0.png", "car-2.png"),
    }
    assert [flag[:3] for flag in flagged(folder) if flag[3] == "kind"] == [
        ("car-0.png", "body_type", "en"),
        ("car-0.png", "body_type", "ko"),
        ("car-2.png", "body_type", "en"),
    ]


def test_results_and_their_json_lines_have_flags_with_and_without_a_workspace(folder: Path) -> None:
    engine = ScriptedEngine({(1, "body_type", "en"): {"wagon": 0.45}}, masses={(0, "main_colour"): 0.1})
    for workspace in (None, folder / "another"):
        results = described(folder, workspace=workspace, languages=["en"], engine=engine)
        assert {result.file.key: [flag.why for flag in result.flags] for result in results if result.flags} == {
            "car-0.png": ["unsure"],
            "car-1.png": ["kind", "unsure"],
            "car-2.png": ["kind"],
            "car-5.png": ["kind"],
        }
        lines = [json.loads(json_line(result, engine.card, ())) for result in results]
        assert list(lines[0])[-3:] == ["answers", "flags", "error"]
        assert lines[3]["flags"] == []
        assert lines[1]["flags"][1] == in_json(language="en", why="unsure", answered="wagon", score=0.45)
        tally = Tally()
        tally.add(results)
        assert tally.flagged == FlagCounts(photos=4, kind=3, unsure=2)


def test_a_photo_that_was_set_aside_has_no_flags(tmp_path: Path) -> None:
    (paint_photos(tmp_path / "photos", 1) / "car-1.png").write_bytes(b"")
    write_kinds(tmp_path, ("SUV", "SUV"))
    for workspace in (None, tmp_path / "workspace"):
        results = described(tmp_path, workspace=workspace, languages=["en"])
        assert [[flag.answered for flag in result.flags] for result in results] == [["sedan"], []]


def test_once_calibrated_confidence_takes_the_place_of_the_score(folder: Path) -> None:
    def calibrate(question: str, temperature: float) -> None:
        with write_workspace(folder / "workspace", create=False) as opened:
            answer_ids = [
                origin.answer_id
                for photo in kept_photos(opened)
                for judged, origin in zip(photo.answers, photo.origins, strict=True)
                if origin and (judged.question_id, judged.language) == (question, "en")
            ]
            kept = Calibration(temperature=temperature, photos=60, ece_before=0.2, ece_after=0.1)
            keep_calibration(opened, answer_ids, kept)

    calibrate("body_type", 0.2)  # bolder: 0.4 of three becomes more than a half
    assert [flag for flag in ALL if flag[0] != "car-4.png"] == flagged(folder)
    calibrate("body_type", 4.0)  # more timid: 0.9 of eleven becomes less than a half
    unsure = [flag for flag in flagged(folder) if flag[1:4] == ("body_type", "en", "unsure")]
    assert [flag[0] for flag in unsure] == [f"car-{i}.png" for i in range(6)]
    assert run(folder, "status", "--json")["flagged"] == {"photos": 6, "kind": 2, "unsure": 6}
    assert "unsure: confidence 0.2" in run(folder, "show", "car-0.png")
    (first,) = run(folder, "show", "car-0.png", "--json")["flags"]
    assert first["score"] is None
    assert first["confidence"] < LEAST_SURE


OWN = """
id = "own"
version = 1
languages = ["en"]
[[questions]]
id = "body"
priority = 1
text.en = "Which?"
choices.en = ["a \\"sedan\\"", "SUV", "van"]
"""
CHOICES = {"body_type": ("sedan", "SUV", "van"), "body": ('a "sedan"', "SUV", "van")}


def random_workspace(folder: Path, chance: random.Random, photos: int = 40) -> Path:
    """Any kinds, scores, masses and verdicts; two models, one calibrated here and there, one asked twice."""
    (folder / "own.toml").write_text(OWN, "utf-8")
    kinds = [chance.choice(("세단", "SUV", "RV", "화물", "세단/SUV", "", None)) for _ in range(photos)]
    for weights, dtype in (("first", "float32"), ("second", "float32"), ("second", "bfloat16")):
        script: Script = {
            (i, question, "en"): {chance.choice(texts): chance.choice((0.2, 0.45, 0.6, 0.8, 0.95))}
            for i in range(photos)
            for question, texts in CHOICES.items()
        }
        masses = {(i, question): chance.choice((0.3, 0.9, 0.9)) for i in range(photos) for question in CHOICES}
        engine = ScriptedEngine(script, model=weights, masses=masses)
        engine.card = replace(engine.card, dtype=dtype)
        options: dict[str, Any] = {"recipes": ["designer", folder / "own.toml"], "languages": ["en"], "strict": True}
        scripted_workspace(folder, {}, photos=photos, metadata=write_kinds(folder, kinds), engine=engine, **options)
    with write_workspace(folder / "workspace", create=False) as opened:
        asked = "SELECT min(id) FROM answers WHERE scores NOT NULL GROUP BY prompt_id, condition_id"
        for (answer_id,) in opened.connection.execute(asked).fetchall():
            if temperature := chance.choice((None, 0.3, 1.0, 2.0, 4.0)):
                kept = Calibration(temperature=temperature, photos=60, ece_before=0.2, ece_after=0.1)
                keep_calibration(opened, [answer_id], kept)
        for number in range(60):
            verdict = chance.choice(("approved", "rejected", "edited"))
            values = {
                "photo": f"car-{chance.randrange(photos)}.png",
                "question": chance.choice(("designer.body_type", "designer.main_colour", "designer.body", "own.body")),
                "verdict": verdict,
                "text": "SUV" if verdict == "edited" else "",
            }
            correct(opened, [VerdictRow(where=f"line {number}", values=values)])
    return folder / "workspace"


def found_as_by_reading_every_photo(workspace: Path) -> FlagCounts:
    """What the database counts, once it was held against the flags of each photo."""
    with read_workspace(workspace) as opened:
        for recipe, model in product((None, "designer", "own"), (None, "first", "second")):
            read = {
                photo.file_id: {flag.why for flag in flags}
                for photo in kept_photos(opened, recipe=recipe, model=model)
                if (flags := flags_of_photo(photo))
            }
            assert flagged_files(opened, DOUBT, recipe=recipe, model=model) == list(read)
        every = [flags_of_photo(photo) for photo in kept_photos(opened)]
        counted = count_flagged(opened, DOUBT)
    assert 0 < counted.photos < len(every)
    assert counted == FlagCounts(
        photos=sum(bool(flags) for flags in every),
        kind=sum(any(flag.why == "kind" for flag in flags) for flags in every),
        unsure=sum(any(flag.why == "unsure" for flag in flags) for flags in every),
    )
    return counted


@pytest.mark.parametrize("seed", range(4))
def test_the_database_finds_what_reading_every_photo_finds(tmp_path: Path, seed: int) -> None:
    found_as_by_reading_every_photo(random_workspace(tmp_path, random.Random(seed)))


def test_a_workspace_of_an_older_form_is_counted_as_it_is_and_once_it_was_written(tmp_path: Path) -> None:
    workspace = random_workspace(tmp_path, random.Random(9))
    counted = found_as_by_reading_every_photo(workspace)
    with closing(sqlite3.connect(workspace / "catalog.sqlite", isolation_level=None)) as connection:
        scores = "SELECT id, score FROM answers ORDER BY id"
        before = connection.execute(scores).fetchall()
        put_back(workspace, 5)
        assert found_as_by_reading_every_photo(workspace) == counted
        with write_workspace(workspace, create=False):
            pass
        assert connection.execute(scores).fetchall() == before
        assert found_as_by_reading_every_photo(workspace) == counted
        connection.execute("DROP TABLE calibrations")
        connection.execute("PRAGMA user_version = 3")
    found_as_by_reading_every_photo(workspace)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Name a photo, or give --flagged"),
        (["car-0.png", "--flagged"], "and not both"),
        (["car-0.png", "--limit", "3"], "--limit is for --flagged"),
        (["--flagged", "--recipe", "brief"], "'brief' was not asked"),
        (["--flagged", "--language", "de"], "not in de"),
        (["--flagged", "--model", "8B"], "No model '8B' has answered"),
    ],
)
def test_wrong_use_is_one_line_that_says_what_to_do(folder: Path, arguments: list[str], says: str) -> None:
    with pytest.raises(InputError, match=says) as raised:
        run(folder, "show", *arguments)
    assert "\n" not in str(raised.value)


def test_a_run_says_at_its_end_how_many_photos_are_flagged_and_marks_them(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (tmp_path / "cars.json").write_text(
        json.dumps([{"image": "12-sedan.jpg", "kind": "왜건"}, {"image": "23-sedan.jpg", "kind": "세단"}]), "utf-8"
    )
    photos = [RENDERS / "12-sedan.jpg", RENDERS / "23-sedan.jpg"]
    environment = {**os.environ, "CARSCRIBE_CACHE": str(tmp_path_factory.mktemp("cache")), "COLUMNS": "100"}

    def describe(*arguments: str) -> subprocess.CompletedProcess[str]:
        asked = ["describe", *map(str, photos), "--metadata", "cars.json", "--model", "demo"]
        return subprocess.run(
            [sys.executable, "-m", "carscribe", *asked, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=True,
        )

    for into, see in (
        (("-o", "out.jsonl"), "why: `flags` of their JSON lines"),
        (("-w", "ws"), "see: carscribe show ws --flagged"),
    ):
        done = describe(*into)
        assert f"Flagged    1 photo (1 against the crawled kind); {see}" in done.stderr
        marked = [line for line in done.stdout.splitlines() if "! sedan" in line]
        assert [line.split()[0] for line in marked] == ["12-sedan.jpg"]
        assert "! is flagged: against the crawled kind, or unsure." in done.stdout
    again = describe("-w", "ws")
    assert "Nothing to ask" in again.stderr
    assert "Flagged    1 photo (1 against the crawled kind); see: carscribe show ws --flagged" in again.stderr
    (tmp_path / "cars.json").write_text(json.dumps([{"image": "12-sedan.jpg", "kind": "세단"}]), "utf-8")
    assert "Flagged" not in describe("-w", "ws").stderr
