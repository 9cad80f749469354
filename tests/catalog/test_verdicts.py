"""What people say of answers: taken all together, appended, never changed, outliving every run."""

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeEngine
from workspaces import RECIPE, make_workspace

import carscribe
from carscribe.catalog.reading import KeptPhoto, kept_photos
from carscribe.catalog.verdicts import Corrected, VerdictRow, correct
from carscribe.catalog.workspace import read_workspace, write_workspace
from carscribe.errors import VerdictsError
from carscribe.records import JudgedAnswer

Correct = Callable[..., Corrected]
EDIT = {"photo": "차 0.png", "question": "wheels", "language": "en", "text": "five-spoke alloy wheels"}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return make_workspace(tmp_path)


@pytest.fixture
def take(workspace: Path) -> Correct:
    def run(*rows: Mapping[str, str], author: str | None = None) -> Corrected:
        with write_workspace(workspace, create=False) as opened:
            numbered = [VerdictRow(where=f"line {i}", values=row) for i, row in enumerate(rows, 1)]
            return correct(opened, numbered, author=author)

    return run


def photo(workspace: Path, key: str = "차 0.png") -> KeptPhoto:
    with read_workspace(workspace) as opened:
        return next(kept for kept in kept_photos(opened) if kept.file.key == key)


def answer(workspace: Path, question: str = "wheels", language: str = "en") -> JudgedAnswer:
    return next(
        judged for judged in photo(workspace).answers if (judged.question_id, judged.language) == (question, language)
    )


def test_an_edit_counts_instead_of_the_answer_and_the_answer_stays(take: Correct, workspace: Path) -> None:
    said = answer(workspace).text
    assert take(EDIT, author="Kim").taken == {"edited": 1}
    edited = answer(workspace)
    assert edited.text == "five-spoke alloy wheels"
    assert edited.answer is not None
    assert edited.answer.text == said
    assert edited.verdict is not None
    assert (edited.verdict.decision, edited.verdict.author) == ("edited", "Kim")


def test_an_edit_outlives_another_model_and_a_changed_question(take: Correct, workspace: Path, tmp_path: Path) -> None:
    take(EDIT)
    other = FakeEngine()
    other.card = replace(other.card, weights="other")  # type: ignore[misc]
    make_workspace(tmp_path, engine=other)
    assert answer(workspace).text == "five-spoke alloy wheels"
    (tmp_path / "own.toml").write_text(RECIPE.replace('"wheels"\ntext.ko', '"which wheels"\ntext.ko'), "utf-8")
    make_workspace(tmp_path)
    changed = answer(workspace)
    assert changed.text == "five-spoke alloy wheels"
    assert changed.answer is not None
    assert "which wheels" in changed.answer.text


def test_a_rejection_is_of_one_answer_and_a_new_one_is_not_judged(
    take: Correct, workspace: Path, tmp_path: Path
) -> None:
    take({"photo": "차 0.png", "question": "wheels", "language": "en", "verdict": "rejected"})
    assert answer(workspace).text is None
    make_workspace(tmp_path)
    assert answer(workspace).text is None
    other = FakeEngine()
    other.card = replace(other.card, weights="other")  # type: ignore[misc]
    make_workspace(tmp_path, engine=other)
    assert answer(workspace).text is not None
    assert answer(workspace).verdict is None


def test_the_last_verdict_counts_and_all_are_kept(take: Correct, workspace: Path) -> None:
    take(EDIT)
    take(EDIT | {"text": "multi-spoke wheels"})
    take({"photo": "차 0.png", "question": "wheels", "language": "en", "verdict": "approved"})
    said = answer(workspace)
    assert said.answer is not None
    assert said.text == said.answer.text
    with closing(sqlite3.connect(workspace / "catalog.sqlite")) as connection:
        kept = connection.execute("SELECT decision, text FROM verdicts ORDER BY id").fetchall()
    assert kept[:2] == [("edited", "five-spoke alloy wheels"), ("edited", "multi-spoke wheels")]
    assert kept[2][0] == "approved"


@pytest.mark.parametrize("statement", ["UPDATE verdicts SET text = 'x'", "DELETE FROM verdicts"])
def test_no_verdict_is_ever_changed_even_by_hand(statement: str, take: Correct, workspace: Path) -> None:
    take(EDIT)
    with (
        closing(sqlite3.connect(workspace / "catalog.sqlite")) as connection,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        connection.execute(statement)


def test_the_same_file_again_adds_nothing(take: Correct) -> None:
    take(EDIT)
    again = take(EDIT)
    assert (again.taken, again.same) == ({}, 1)


def test_a_photo_is_named_by_key_path_part_or_hash(take: Correct, workspace: Path, tmp_path: Path) -> None:
    sha256 = str(photo(workspace).sha256)
    for i, name in enumerate(["차 0.png", str(tmp_path / "photos" / "차 0.png"), "0.png", sha256, sha256[:10].upper()]):
        assert take(EDIT | {"photo": name, "text": f"text {i}"}).taken == {"edited": 1}


def test_a_verdict_is_of_the_photo_and_so_of_its_twin(take: Correct, workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "photos" / "twin.png").write_bytes((tmp_path / "photos" / "차 0.png").read_bytes())
    make_workspace(tmp_path)
    take(EDIT)
    twin = photo(workspace, "twin.png")
    assert "five-spoke alloy wheels" in [judged.text for judged in twin.answers]


def test_a_person_may_answer_what_the_model_did_not(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, languages=["en"])
    make_workspace(tmp_path, languages=["ko"], engine=FakeEngine(capacity=0))
    with write_workspace(workspace, create=False) as opened:
        row = EDIT | {"language": "ko", "text": "다섯 갈래 휠"}
        correct(opened, [VerdictRow(where="line 1", values=row)])
    korean = answer(workspace, language="ko")
    assert (korean.text, korean.answer) == ("다섯 갈래 휠", None)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"question": "wheels", "text": "x"}, "names no photo"),
        ({"photo": "차 0.png", "text": "x"}, "names no question"),
        (EDIT | {"photo": "gone.png"}, "no photo 'gone.png'"),
        (EDIT | {"photo": "차"}, "several photos answer to '차'"),
        (EDIT | {"question": "whels"}, r"no answer to 'whels'; it has colour \(en\), wheels \(en\)"),
        (EDIT | {"language": ""}, "several answers to 'wheels'.*name one"),
        (EDIT | {"language": "de"}, "no answer"),
        (EDIT | {"recipe": "designer"}, "no answer"),
        (EDIT | {"text": ""}, "neither a verdict"),
        (EDIT | {"verdict": "edited", "text": " "}, "edited and has no text"),
        (EDIT | {"verdict": "maybe"}, "no verdict 'maybe'"),
        (EDIT | {"verdict": "approved"}, "to put it in its place say edited"),
        (EDIT | {"vredict": "approved"}, "no column 'vredict'"),
    ],
)
def test_one_wrong_row_and_nothing_is_taken(row: Mapping[str, str], says: str, take: Correct, workspace: Path) -> None:
    with pytest.raises(VerdictsError, match=f"line 2: .*{says}"):
        take(EDIT, row)
    assert answer(workspace).verdict is None


def test_words_of_other_spellings_are_understood(take: Correct, workspace: Path) -> None:
    take({"photo": "차 0.png", "question": "own.wheels", "language": "en", "verdict": " Approved "})
    take({"photo": "차 1.png", "question": "wheels", "recipe": "own", "language": "ko", "verdict": "반려"})
    assert answer(workspace).verdict is not None
    with read_workspace(workspace) as opened:
        rejected = [judged for kept in kept_photos(opened) for judged in kept.answers if judged.text is None]
    assert [(judged.question_id, judged.language) for judged in rejected] == [("wheels", "ko")]


def test_of_two_rows_about_one_answer_the_later_counts(take: Correct, workspace: Path) -> None:
    take(EDIT | {"text": "A"})
    assert take(EDIT | {"text": "B"}, EDIT | {"text": "A"}).taken == {"edited": 2}
    assert answer(workspace).text == "A"


def test_a_name_that_is_no_text_is_an_error_and_no_crash(take: Correct) -> None:
    with pytest.raises(VerdictsError, match="no photo"):
        take(EDIT | {"photo": "caf\udce9.png"})


def test_results_say_what_a_person_said(take: Correct, tmp_path: Path) -> None:
    take(EDIT)
    results = carscribe.describe(
        tmp_path / "photos", workspace=tmp_path / "workspace", recipes=[tmp_path / "own.toml"], engine=FakeEngine()
    )
    assert "five-spoke alloy wheels" in [said.text for said in next(iter(results)).answers]
