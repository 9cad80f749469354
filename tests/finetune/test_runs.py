"""From corrected answers in a workspace to a model that gives them: `carscribe finetune`, then `describe --adapter`."""

import json
from pathlib import Path
from typing import Any

import pytest
from workspaces import make_workspace

import carscribe
from carscribe.catalog.status import last_run
from carscribe.catalog.verdicts import VerdictRow, correct
from carscribe.catalog.workspace import read_workspace, write_workspace
from carscribe.errors import InputError
from carscribe.finetune.runs import finetune, read_run
from carscribe.finetune.settings import Settings, load_settings

WHEELS = "red wheels"

QUICK = {
    "learning_rate": 1e-2,
    "schedule": "constant_with_warmup",
    "warmup_share": 0.0,
    "batch_photos": 4,
    "accumulate": 1,
    "max_tiles": 1,
    "checkpointing": False,
    "held_out": 0.25,
    "workers": 0,
    "log_every": 5,
    "save_every": 5,
}


SMALL = {
    "vision_hidden": 64,
    "vision_layers": 2,
    "vision_heads": 4,
    "vision_mlp": 128,
    "hidden": 64,
    "layers": 2,
    "heads": 4,
    "kv_heads": 2,
    "mlp": 128,
}
"""A new model, as a TOML file gives it."""


def corrected(folder: Path, *, photos: int = 4) -> Path:
    """A workspace in which a person wrote what the wheels are, of every photo but the last."""
    workspace = make_workspace(folder, photos=photos)
    rows = [
        VerdictRow(
            where=f"row {i}",
            values={
                "photo": f"차 {i}.png",
                "question": "wheels",
                "language": "en",
                "verdict": "edited",
                "text": WHEELS,
            },
        )
        for i in range(photos - 1)
    ]
    with write_workspace(workspace, create=False) as opened:
        correct(opened, rows)
    return workspace


@pytest.fixture(scope="module")
def trained(random_checkpoint: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos, a workspace, and a LoRA trained on what was corrected in it."""
    folder = tmp_path_factory.mktemp("trained")
    workspace = corrected(folder)
    settings = Settings(**QUICK, steps=40)  # type: ignore[arg-type]
    finetune(workspace, str(random_checkpoint()), folder / "run", settings, device="cpu", merge=True)
    return folder


def said(photos: Path, recipe: Path, **options: Any) -> list[str]:
    results = carscribe.describe(photos, recipes=[recipe], max_tiles=1, device="cpu", **options)
    return [answer.text for result in results for answer in result.answers if answer.question_id == "wheels"]


def test_a_model_says_what_it_was_taught_with_its_adapter_and_as_a_merged_checkpoint(
    trained: Path, random_checkpoint: Any
) -> None:
    photos, recipe = trained / "photos", trained / "own.toml"
    model = str(random_checkpoint())
    assert WHEELS not in said(photos, recipe, model=model)
    assert said(photos, recipe, model=model, adapter=trained / "run") == [WHEELS] * 4
    assert said(photos, recipe, model=str(trained / "run" / "model")) == [WHEELS] * 4


def test_a_run_leaves_its_settings_curves_and_samples(trained: Path) -> None:
    run = trained / "run"
    noted = read_run(run)
    assert noted is not None
    assert noted["done"] is True
    assert (noted["data"]["photos"], noted["data"]["held_out_photos"]) == (3, 0)  # a quarter of three is none
    assert noted["settings"]["steps"] == 40
    losses = [row["loss"] for row in json.loads((run / "curves.json").read_text()) if "loss" in row]
    assert float(losses[-1]) < 0.2 * float(losses[0])
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    samples = json.loads((run / "samples.json").read_text("utf-8"))
    assert {row["after"] for row in samples} == {WHEELS}
    assert WHEELS not in {row["before"] for row in samples}


def test_only_language_layers_learn(trained: Path) -> None:
    from safetensors import safe_open

    with safe_open(trained / "run" / "adapter" / "adapter_model.safetensors", "pt") as file:
        names = list(file.keys())
    assert names
    assert all("language_model.layers" in name for name in names)


def test_a_workspace_asks_again_with_an_adapter_and_goes_on_with_it(trained: Path, random_checkpoint: Any) -> None:
    photos, recipe, workspace = trained / "photos", trained / "own.toml", trained / "asked"
    model = str(random_checkpoint())
    first = said(photos, recipe, model=model, workspace=workspace)
    second = said(photos, recipe, model=model, adapter=trained / "run", workspace=workspace)
    assert first != second == [WHEELS] * 4
    with read_workspace(workspace) as opened:
        before = last_run(opened)
    assert before is not None
    assert (before.model, before.adapter) == (model, str(trained / "run" / "adapter"))
    assert said(photos, recipe, workspace=workspace) == second  # as in the last run


def test_a_stopped_training_goes_on_and_another_one_is_refused(random_checkpoint: Any, tmp_path: Path) -> None:
    workspace, model, to = corrected(tmp_path), str(random_checkpoint()), tmp_path / "run"
    settings = Settings(**QUICK, steps=10)  # type: ignore[arg-type]

    class StoppedError(Exception):
        pass

    def stop(text: str) -> None:
        if text.startswith("step 10"):
            raise StoppedError

    with pytest.raises(StoppedError):
        finetune(workspace, model, to, settings, device="cpu", say=stop)
    other = settings.model_copy(update={"learning_rate": 1.0})
    with pytest.raises(InputError, match="another settings"):
        finetune(workspace, model, to, other, device="cpu")
    heard: list[str] = []
    finetune(workspace, model, to, settings, device="cpu", say=heard.append)
    assert any("Going on" in text for text in heard)
    assert not any(text.startswith("step 5 ") for text in heard)
    with pytest.raises(InputError, match="was done"):
        finetune(workspace, model, to, settings, device="cpu")


def test_nothing_corrected_is_nothing_to_learn(random_checkpoint: Any, tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    with pytest.raises(InputError, match="Nobody has approved or corrected"):
        finetune(workspace, str(random_checkpoint()), tmp_path / "run", Settings(), device="cpu")
    assert not (tmp_path / "run").exists()


def test_conversations_of_other_trainers_are_learned_and_a_broken_photo_is_named(
    random_checkpoint: Any, tmp_path: Path
) -> None:
    make_workspace(tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    turns = [{"role": "user", "content": "<image>wheels"}, {"role": "assistant", "content": "black"}]
    rows = [
        {"images": ["photos/차 0.png"], "messages": turns},
        {"images": ["photos/차 1.png"], "prompt": turns[:1], "completion": turns[1:]},
        {"images": ["broken.jpg"], "messages": turns},
    ]
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    heard: list[str] = []
    settings = Settings(**QUICK, steps=1)  # type: ignore[arg-type]
    finetune(source, str(random_checkpoint()), tmp_path / "run", settings, device="cpu", say=heard.append)
    assert [text for text in heard if text.startswith("Left out: broken.jpg: ")]
    noted = read_run(tmp_path / "run")
    assert noted is not None
    assert (noted["data"]["photos"], noted["data"]["pairs"]) == (2, 2)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ('{"images": ["a.png"], "messages": []}', "line 1 is no conversation"),
        ('{"images": ["a.png", "b.png"], "messages": [{"role": "user", "content": "x"}]}', "line 1"),
        ("no json", "line 1"),
        ('{"messages": []}', "images"),
    ],
)
def test_a_row_that_is_no_conversation_is_said_with_its_line(row: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(row + "\n", "utf-8")
    with pytest.raises(InputError, match=says):
        finetune(tmp_path / "rows.jsonl", "x", tmp_path / "run", Settings(), device="cpu")


def test_settings_say_what_is_wrong_with_them(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('lora_rnak = 8\nrows = "crates"\n', "utf-8")
    with pytest.raises(InputError, match=r"lora_rnak.*rows|rows.*lora_rnak"):
        load_settings(path)
    assert load_settings(None, epochs=2.0, rows=None).epochs == 2.0
    with pytest.raises(InputError, match="does not exist"):
        load_settings(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("model", "settings", "device", "says"),
    [
        (None, {}, "cpu", "Which model is to be trained"),
        ("demo", {}, "tpu", "a training takes cpu or cuda"),
        ("demo", {"new_model": SMALL, "train": "full"}, "cpu", "exclude each other"),
        (None, {"new_model": SMALL}, "cpu", 'train = "full"'),
    ],
)
def test_what_cannot_be_begun_is_said_before_anything_is_written(
    model: str | None, settings: dict[str, Any], device: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=says):
        finetune(tmp_path, model, tmp_path / "run", Settings(**settings), device=device)
    assert not (tmp_path / "run").exists()
