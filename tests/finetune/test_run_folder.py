"""The folder of a training: one writer, nothing of others touched, gone on with from what was written whole."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

from carscribe.errors import CarscribeError, EngineError, InputError, OutOfMemoryError, OutputError, PhotoError
from carscribe.finetune.run_folder import begin, last_checkpoint, note, read_run, sole_training
from carscribe.finetune.settings import Settings
from carscribe.finetune.training_run import failures_told

PLAN: dict[str, Any] = {
    "model": "a",
    "settings": {"learning_rate": 1.0, "workers": 2},
    "data": {"photos": 3, "digest": "x"},
}


def begun(to: Path, *, checkpoint: bool = True) -> Path:
    with sole_training(to):
        begin(to, PLAN, {}, lambda _: None)
    if checkpoint:
        written(to, 5, "{}")
    return to


def written(to: Path, step: int, state: str | None) -> Path:
    folder = to / "checkpoints" / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    if state is not None:
        (folder / "trainer_state.json").write_text(state)
    return folder


def test_a_second_process_is_refused_while_the_first_one_trains(tmp_path: Path) -> None:
    with sole_training(tmp_path / "run"):
        with pytest.raises(InputError, match="Another process trains"), sole_training(tmp_path / "run"):
            pass
        begin(tmp_path / "run", PLAN, {}, lambda _: None)
    with sole_training(tmp_path / "run"):
        assert read_run(tmp_path / "run") == {**PLAN, "done": False}


def test_what_could_not_be_begun_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("")
    with sole_training(tmp_path / "run"):
        pass
    for place, says in (("other", "other things in it"), ("file", "cannot be written"), ("file/in", "cannot be writ")):
        with pytest.raises(InputError, match=says), sole_training(tmp_path / place):
            pass
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        "file",
        "other",
        "other/thesis.txt",
    ]


def test_the_newest_checkpoint_that_was_written_to_its_end_is_gone_on_from(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    whole = written(tmp_path, 900, '{"global_step": 900}')
    written(tmp_path, 200, "{}")
    written(tmp_path, 1000, '{"global_st')  # killed in the middle
    written(tmp_path, 1100, None)
    (tmp_path / "checkpoints" / "checkpoint-best").mkdir()
    assert last_checkpoint(tmp_path) == whole


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"settings": {"learning_rate": 2.0, "workers": 2}}, r"another settings \(learning_rate 1.0, now 2.0\)"),
        ({"model": "b"}, r"another model \(a, now b\)"),
        ({"data": {"photos": 4, "digest": "y"}}, r"another data \(photos 3, now 4\)"),
        ({"data": {"photos": 3, "digest": "y"}}, r"another data \(other photos or texts\)"),
    ],
)
def test_another_training_is_refused_with_what_differs(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    to = begun(tmp_path / "run")
    with pytest.raises(InputError, match=says):
        begin(to, PLAN | change, {}, lambda _: None)
    assert read_run(to) == {**PLAN, "done": False}


def test_what_decides_nothing_may_differ_and_before_a_checkpoint_all_may(tmp_path: Path) -> None:
    heard: list[str] = []
    begin(begun(tmp_path / "a"), PLAN | {"settings": {"learning_rate": 1.0, "workers": 0}}, {}, heard.append)
    assert heard == [f"Going on with the training in {tmp_path / 'a'}."]
    fresh = begun(tmp_path / "b", checkpoint=False)
    begin(fresh, PLAN | {"model": "b"}, {}, heard.append)
    assert len(heard) == 1
    assert (read_run(fresh) or {})["model"] == "b"


def test_a_training_that_is_done_is_not_begun_again(tmp_path: Path) -> None:
    to = begun(tmp_path / "run")
    note(to, {"done": True})
    with pytest.raises(InputError, match="was done"), sole_training(to):
        pass


@pytest.mark.parametrize("content", ["{", "[]", "\udcff"])
def test_a_note_that_cannot_be_read_is_said(content: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(content, "utf-8", errors="surrogateescape")
    with pytest.raises(InputError, match=r"run\.json"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (OutOfMemoryError("Out of memory for a step: 3 GiB."), OutOfMemoryError, "lower --batch-photos"),
        (
            PhotoError("Caught PhotoError in worker 0.\nTraceback\n  x\ncarscribe.errors.PhotoError: a.jpg is gone."),
            PhotoError,
            r"^a\.jpg is gone\. Put it right\. The same command goes on",
        ),
        (EngineError("A prompt holds <img>."), PhotoError, "^A prompt holds <img>. Put"),
        (OSError(28, "No space left on device"), OutputError, "No space left on device. The same command"),
        (SafetensorError("I/O error"), OutputError, "I/O error. The same command"),
        (RuntimeError("DataLoader worker (pid 3) is killed by signal: Bus error."), OutputError, "lower workers"),
    ],
)
def test_what_fails_on_the_way_is_one_line_that_says_what_to_do(
    error: Exception, kind: type[CarscribeError], says: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=says) as caught, failures_told(tmp_path, Settings()):
        raise error
    assert "\n" not in str(caught.value)


def test_a_defect_keeps_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes"), failures_told(tmp_path, Settings()):
        raise RuntimeError("shapes")


def test_a_written_note_is_whole_json(tmp_path: Path) -> None:
    note(tmp_path, {"text": "휠 \udcff"})
    assert "휠" in json.loads((tmp_path / "run.json").read_text("utf-8"))["text"]
