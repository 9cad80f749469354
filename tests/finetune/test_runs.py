"""From corrected answers in a workspace to a model that gives them: `carscribe finetune`, then `describe --adapter`."""

import errno
import json
import logging
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from workspaces import make_workspace

import carscribe
from carscribe.catalog.status import last_run
from carscribe.catalog.verdicts import VerdictRow, correct
from carscribe.catalog.workspace import read_workspace, write_workspace
from carscribe.engines.demo_model import demo_checkpoint
from carscribe.engines.new_checkpoint import SPECIAL_TOKENS, Sizes, bpe_of
from carscribe.errors import CheckpointError, InputError, OutputError
from carscribe.finetune.data import gather
from carscribe.finetune.runs import finetune, read_run
from carscribe.finetune.settings import Settings, load_settings

WHEELS = "red wheels"
TURNS = '[{"role": "user", "content": "wheels"}, {"role": "assistant", "content": "red"}]'

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
    assert "num_tokens" not in (run / "curves.json").read_text()
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


def test_a_merged_checkpoint_says_what_it_is_held_in_and_nothing_of_how_it_was_trained(
    trained: Path, random_checkpoint: Any
) -> None:
    from transformers import InternVLForConditionalGeneration

    config = json.loads((trained / "run" / "model" / "config.json").read_text())
    parts = (config, config["text_config"], config["vision_config"])
    assert [part["dtype"] for part in parts] == ["bfloat16"] * 3
    assert "carscribe" not in json.dumps(config)
    assert config.get("use_cache") is not False
    names = {path.name for path in (trained / "run" / "model").iterdir()}
    assert names == {path.name for path in random_checkpoint().iterdir()}
    model = InternVLForConditionalGeneration.from_pretrained(trained / "run" / "model", dtype="auto")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_a_training_that_is_done_is_merged_when_that_is_asked_for_later(
    trained: Path, random_checkpoint: Any, tmp_path: Path
) -> None:
    shutil.copytree(trained / "run", tmp_path / "run", ignore=shutil.ignore_patterns("model", "checkpoints"))
    workspace, model, settings = trained / "workspace", str(random_checkpoint()), Settings(**QUICK, steps=40)
    outcome = finetune(workspace, model, tmp_path / "run", settings, device="cpu", merge=True)
    merged = (outcome.result / "model.safetensors").read_bytes()
    assert merged == (trained / "run" / "model" / "model.safetensors").read_bytes()
    with pytest.raises(InputError, match="was done"):
        finetune(workspace, model, tmp_path / "run", settings, device="cpu")


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


def test_a_training_that_was_asked_to_stop_ends_as_one_that_was_not(random_checkpoint: Any, tmp_path: Path) -> None:
    workspace, model = corrected(tmp_path), str(random_checkpoint())
    settings = Settings(**QUICK | {"batch_photos": 1, "save_every": 100, "log_every": 1}, steps=10, lora_dropout=0.2)
    steps: list[str] = []
    options: dict[str, Any] = {"device": "cpu", "say": lambda text: steps.append(text.partition(" of")[0])}
    asked = nullcontext(lambda: steps[-1:] == ["step 7"])  # in the third epoch; looked at after the eighth step
    stopped = finetune(workspace, model, tmp_path / "run", settings, listening=lambda: asked, **options)
    assert not stopped.finished
    assert not (tmp_path / "run" / "adapter").exists()
    steps.clear()
    ended = finetune(workspace, model, tmp_path / "run", settings, **options)
    assert [step for step in steps if step.startswith("step")] == ["step 9", "step 10"]
    whole = finetune(workspace, model, tmp_path / "whole", settings, **options)
    weights = [(each.result / "adapter_model.safetensors").read_bytes() for each in (ended, whole)]
    assert weights[0] == weights[1]


def test_a_training_that_could_not_be_saved_is_saved_without_another_step(
    random_checkpoint: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, model = corrected(tmp_path), str(random_checkpoint())
    settings = Settings(**QUICK | {"batch_photos": 1, "log_every": 1}, steps=7)  # in the middle of an epoch
    steps: list[str] = []
    options: dict[str, Any] = {"device": "cpu", "say": lambda text: steps.append(text.partition(" of")[0])}

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("carscribe.finetune.training_run.write_adapter", full)
        with pytest.raises(OutputError):
            finetune(workspace, model, tmp_path / "run", settings, **options)
    steps.clear()
    saved = finetune(workspace, model, tmp_path / "run", settings, **options)
    assert not [step for step in steps if step.startswith("step")]
    whole = finetune(workspace, model, tmp_path / "whole", settings, **options)
    weights = [(each.result / "adapter_model.safetensors").read_bytes() for each in (saved, whole)]
    assert weights[0] == weights[1]


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


def test_transformers_says_nothing_of_end_tokens_that_nobody_keeps(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heard = logging.getLogger("transformers.trainer_utils")
    heard.addHandler(caplog.handler)  # transformers' loggers do not propagate
    settings = Settings(**QUICK, steps=1)  # type: ignore[arg-type]
    finetune(corrected(tmp_path), "demo", tmp_path / "run", settings, device="cpu")
    heard.removeHandler(caplog.handler)
    assert [record.getMessage() for record in caplog.records] == []


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ('{"images": ["a.png"], "messages": []}', "line 1 is no conversation"),
        ('{"images": ["a.png", "b.png"], "messages": [{"role": "user", "content": "x"}]}', "line 1"),
        ("no json", "line 1"),
        ('{"messages": []}', "images"),
        (f'{{"images": ["a.png"], "groups": "x", "messages": {TURNS}}}', "groups is no list"),
        (f'{{"images": ["\udcff.png"], "messages": {TURNS}}}', "line 1"),
    ],
)
def test_a_row_that_is_no_conversation_is_said_with_its_line(row: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(row + "\n", "utf-8", errors="surrogateescape")
    with pytest.raises(InputError, match=says):
        finetune(tmp_path / "rows.jsonl", "demo", tmp_path / "run", Settings(), device="cpu")


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
        ("demo", {"train": "qlora"}, "cpu", "needs a GPU. On a CPU take lora"),
    ],
)
def test_what_cannot_be_begun_is_said_before_anything_is_written(
    model: str | None, settings: dict[str, Any], device: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=says):
        finetune(tmp_path, model, tmp_path / "run", Settings(**settings), device=device)
    assert not (tmp_path / "run").exists()


def test_a_new_model_has_the_tokenizer_of_another_one_or_its_own(tmp_path: Path) -> None:
    workspace = corrected(tmp_path)
    tokens = {}
    for name, more in (("own", {"vocabulary": 512}), ("taken", {"tokenizer": "demo"})):
        settings = Settings(**QUICK, steps=1, train="full", vision=True, new_model=SMALL | more)  # type: ignore[arg-type]
        outcome = finetune(workspace, None, tmp_path / name, settings, device="cpu")
        tokens[name] = bpe_of(outcome.result).get_vocab(with_added_tokens=True)
        assert said(tmp_path / "photos", tmp_path / "own.toml", model=str(outcome.result))
    assert tokens["taken"] == bpe_of(demo_checkpoint()).get_vocab(with_added_tokens=True)
    assert len(tokens["own"]) <= 512 + len(SPECIAL_TOKENS) < len(tokens["taken"])
    settings = Settings(train="full", new_model=SMALL | {"tokenizer": str(tmp_path)})  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=r"config\.json"):
        finetune(workspace, None, tmp_path / "none", settings, device="cpu")


def test_an_adapter_of_another_model_is_refused(trained: Path, random_checkpoint: Any) -> None:
    other = str(random_checkpoint(backbone="qwen3"))
    photos, recipe = trained / "photos", trained / "own.toml"
    assert said(photos, recipe, model=other)
    with pytest.raises(CheckpointError, match="does not fit this model"):
        said(photos, recipe, model="demo", adapter=trained / "run")


def test_an_adapter_of_a_deeper_or_a_shallower_model_and_a_damaged_one_are_refused(
    trained: Path, random_checkpoint: Any, tmp_path: Path
) -> None:
    photos, recipe = trained / "photos", trained / "own.toml"
    for layers in (2, 4):  # PEFT takes what fits of it, and says so in a warning
        other = str(random_checkpoint(sizes=Sizes(layers=layers)))
        with pytest.raises(CheckpointError, match="does not fit this model: 14 weights"):
            said(photos, recipe, model=other, adapter=trained / "run")
    shutil.copytree(trained / "run" / "adapter", tmp_path / "damaged")
    (tmp_path / "damaged" / "adapter_model.safetensors").write_bytes(b"{")
    with pytest.raises(CheckpointError, match="is damaged"):
        said(photos, recipe, model=str(random_checkpoint()), adapter=tmp_path / "damaged")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("steps = true", "steps"),
        ('learning_rate = "fast"', "learning_rate"),
        ("learning_rate = inf", "learning_rate"),
        ("lora_dropout = 7.0", "lora_dropout"),
        ("weight_decay = -1.0", "weight_decay"),
        ("seed = -1", "seed"),
        ("[new_model]\nvision_hidden = 64", "new_model.vision_layers"),
        ("[new_model]\n" + "\n".join(f"{k} = {v}" for k, v in (SMALL | {"heads": 3}).items()), "no multiple of twice"),
    ],
)
def test_settings_that_no_training_can_have_are_said_before_it_begins(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text(text)
    with pytest.raises(InputError, match=says):
        load_settings(tmp_path / "settings.toml")


def test_bytes_that_are_of_two_cars_stand_on_one_side_with_both(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, photos=2)
    (tmp_path / "photos" / "z.png").write_bytes((tmp_path / "photos" / "차 0.png").read_bytes())
    named = {"차 0.png": "Ray", "차 1.png": "Ray", "z.png": "Kona"}
    metadata = tmp_path / "cars.json"
    metadata.write_text(json.dumps([{"name": name, "image": key} for key, name in named.items()]), "utf-8")
    make_workspace(tmp_path, metadata=metadata)
    rows = [
        {"photo": key, "question": "wheels", "language": "en", "verdict": "edited", "text": WHEELS}
        for key in ("차 0.png", "차 1.png")
    ]
    with write_workspace(workspace, create=False) as opened:
        correct(opened, [VerdictRow(where="", values=row) for row in rows])
    groups = [set(example.groups) for example in gather(workspace).examples]
    assert groups == [{"car ray", "car kona"}, {"car ray"}]
