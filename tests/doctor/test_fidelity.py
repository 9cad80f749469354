"""A checkpoint is tried for real: a small one with random weights, in float32 on the CPU, where all must be equal."""

import gc
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import InternVLForConditionalGeneration

from carscribe.doctor.alone import Alone
from carscribe.doctor.comparing import compare_choice, compare_tokens
from carscribe.doctor.expected import IDS, compare_files, compare_processing, family_member
from carscribe.doctor.fidelity import FidelityReport, examine
from carscribe.doctor.judging import fidelity_findings, is_tie, tie_limit
from carscribe.doctor.shots import Shot, read_shots
from carscribe.engines.checkpoint import Checkpoint, open_checkpoint
from carscribe.engines.new_checkpoint import SPECIAL_TOKENS, write_tokenizer
from carscribe.errors import InputError, PhotosError
from carscribe.records import Answer, Description, JudgedAnswer, Prompt

Make = Callable[..., Path]


def compose(answers: Sequence[JudgedAnswer]) -> Description:
    """As a budget without a limit would: every answer, the most important first."""
    ranked = sorted(answers, key=lambda answer: answer.priority)
    return Description(text=", ".join(answer.text or "" for answer in ranked), budget="all", tokens=None)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos") / "of a person named Kim"
    folder.mkdir()
    for name, size in (("wide.jpg", (300, 150)), ("tall.png", (120, 240))):
        Image.effect_noise(size, 80).convert("RGB").save(folder / name)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no photo")
    return folder


@pytest.fixture(scope="module")
def folder(random_checkpoint: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small checkpoint in a folder whose name says something."""
    target = tmp_path_factory.mktemp("of a person named Kim") / "small-model"
    return Path(shutil.copytree(random_checkpoint(), target))


@pytest.fixture(scope="module")
def loaded() -> dict[str, int]:
    """How many models were in memory at the beginning of each step; filled by `report`."""
    return {}


@pytest.fixture(scope="module")
def report(folder: Path, photos: Path, loaded: dict[str, int]) -> FidelityReport:
    def models() -> int:
        gc.collect()
        return sum(type(it) is InternVLForConditionalGeneration for it in gc.get_objects())

    others = models()  # those that other tests of this process hold

    def count(step: str) -> None:
        loaded[step.partition(":")[0]] = models() - others

    return examine(str(folder), photos, compose_description=compose, device="cpu", max_tiles=1, say=count)


def test_there_is_one_copy_of_the_weights_at_a_time(report: FidelityReport, loaded: dict[str, int]) -> None:
    assert loaded == {"Packed": 1, "Alone": 1, "float16": 0}


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Checkpoint:
    return open_checkpoint(str(folder))


@pytest.fixture(scope="module")
def alone(checkpoint: Checkpoint) -> Alone:
    return Alone(checkpoint, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def shot(photos: Path, checkpoint: Checkpoint) -> Shot:
    return read_shots(photos / "wide.jpg", replace(checkpoint.tiling, max_tiles=1), 1).read[0]


def prompt(*choices: str) -> Prompt:
    return Prompt(recipe_id="r", question_id="q", language="en", text="What wheels?", max_new_tokens=9, choices=choices)


def test_packed_answers_equal_those_alone_and_nothing_is_a_problem(report: FidelityReport) -> None:
    assert len(report.tokens) == 2 * 9
    assert [compared for compared in report.tokens if compared.first_difference is not None] == []
    assert len({compared.tokens for compared in report.tokens}) > 1 or report.tokens[0].tokens > 10
    assert len(report.choices) == 2 * 2
    assert all(choice.largest_score_difference < 1e-4 for choice in report.choices)
    assert report.noise < 1e-2
    assert report.unfinished is None
    assert {finding.status for finding in fidelity_findings(report)} <= {"ok", "note"}


def test_the_report_says_what_ran_and_what_was_left_out(report: FidelityReport) -> None:
    assert (report.model, report.revision, report.member, report.dtype) == ("small-model", None, None, "float32")
    assert {"torch", "transformers", "carscribe"} <= set(report.versions)
    assert report.hardware
    assert [line.partition(":")[0] for line in report.set_aside] == ["broken.jpg"]
    assert report.float16.finite in (True, None)
    assert [(seen.name, seen.tiles, seen.picture.size) for seen in report.photos] == [
        ("tall.png", 1, (180, 360)),
        ("wide.jpg", 1, (360, 180)),
    ]


def test_each_photo_has_its_brief_answer_and_what_was_composed_of_the_others(report: FidelityReport) -> None:
    for seen in report.photos:
        assert seen.brief
        assert seen.brief not in seen.description.text
        assert seen.description.text.count(", ") >= 9, "ten designer answers"
    assert report.photos[0].brief != report.photos[1].brief, "answers of another photo would not show"


def test_ids_and_pixels_are_compared_with_transformers_own_classes(report: FidelityReport) -> None:
    told = {compared.what: compared for compared in report.processing}
    assert all(compared.agrees is not False for compared in report.processing), report.processing
    assert told["pixels of one photo"].agrees
    assert any("placeholders written out" in what and compared.agrees for what, compared in told.items())


@pytest.mark.parametrize("spoilt", ["mean", "resample"])
def test_pixels_of_ours_that_differ_are_a_defect(checkpoint: Checkpoint, spoilt: str) -> None:
    changes = {
        "mean": {"mean": (0.5, 0.456, 0.406)},
        "resample": {"tiling": replace(checkpoint.tiling, resample=2)},
    }
    picture = Image.effect_noise((200, 100), 80).convert("RGB")
    compared = compare_processing(replace(checkpoint, **changes[spoilt]), picture)
    assert [one.what for one in compared if one.agrees is False] == ["pixels of one photo"]


def test_an_answer_that_parts_is_found_at_its_token_with_the_gap_there(alone: Alone, shot: Shot) -> None:
    said = alone.say(shot.photo.tiles, prompt())
    assert compare_tokens(alone, shot, prompt(), said.tokens).first_difference is None
    worst = int(said.logits[4].argmin())
    wrong = (*said.tokens[:4], worst, *said.tokens[5:])
    compared = compare_tokens(alone, shot, prompt(), wrong)
    assert compared.first_difference == 4
    assert compared.gap == pytest.approx(float(said.logits[4].max() - said.logits[4].min()))
    assert compared.plain_word != compared.packed_word
    assert compared.noise < 1e-2
    assert not is_tie(compared, 1e-2)
    second = int(said.logits[4].topk(2).indices[1])
    nearer = compare_tokens(alone, shot, prompt(), (*said.tokens[:4], second))
    assert nearer.gap is not None
    assert nearer.gap < (compared.gap or 0)


def test_a_model_may_say_the_token_that_stands_for_a_photo(alone: Alone, shot: Shot, checkpoint: Checkpoint) -> None:
    """As a random one did on a GPU: reading its answer back then looked for a second photo."""
    said = alone.say(shot.photo.tiles, prompt())
    strange = (*said.tokens[:3], checkpoint.image_token_id, *said.tokens[4:])
    logits = alone.logits_along(shot.photo.tiles, prompt().text, strange)
    assert logits.shape == said.logits.shape
    assert torch.allclose(logits[:4], said.logits[:4], atol=1e-4), "what comes before it is as it was"
    assert not torch.allclose(logits[4], said.logits[4], atol=1e-2)


def test_an_answer_that_merely_goes_on_has_no_gap_and_is_no_tie(alone: Alone, shot: Shot) -> None:
    said = alone.say(shot.photo.tiles, prompt())
    compared = compare_tokens(alone, shot, prompt(), said.tokens[:6])
    assert (compared.first_difference, compared.gap) == (6, None)
    assert not is_tie(compared, 1e9)


def test_scores_that_differ_are_measured(alone: Alone, shot: Shot) -> None:
    choice = prompt("sedan", "SUV", "sports car")
    logs = alone.choose(shot.photo.tiles, choice)
    best = choice.choices[max(range(3), key=lambda i: logs[i])]
    other = choice.choices[min(range(3), key=lambda i: logs[i])]
    answer = Answer(
        recipe_id="r",
        question_id="q",
        language="en",
        text=other,
        tokens=1,
        finish="choice",
        scores={name: float(name == other) for name in choice.choices},
    )
    compared = compare_choice(alone, shot, choice, answer)
    assert (compared.plain_choice, compared.packed_choice) == (best, other)
    assert compared.gap == pytest.approx(max(logs) - min(logs))
    assert compared.largest_score_difference > 0.3


def test_photos_are_taken_evenly_from_all_that_are_there(tmp_path: Path, checkpoint: Checkpoint) -> None:
    for i in range(9):
        Image.new("RGB", (40, 30), (i * 20, 0, 0)).save(tmp_path / f"{i}.png")
    read = read_shots(tmp_path, checkpoint.tiling, 3).read
    assert [shot.name for shot in read] == ["0.png", "3.png", "6.png"]
    (tmp_path / "3.png").write_bytes(b"")
    found = read_shots(tmp_path, checkpoint.tiling, 3)
    assert [shot.name for shot in found.read] == ["0.png", "6.png", "1.png"]
    assert found.set_aside[0].startswith("3.png: is empty")


def test_no_readable_photo_is_one_error(tmp_path: Path, checkpoint: Checkpoint) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(PhotosError, match=r"None of the 1 photos can be read\. The first: a\.jpg"):
        read_shots(tmp_path, checkpoint.tiling, 3)


def test_a_dtype_that_does_not_exist_is_refused_before_anything_is_loaded(folder: Path, photos: Path) -> None:
    with pytest.raises(InputError, match="No dtype"):
        examine(str(folder), photos, compose_description=compose, dtype="int3")


@pytest.fixture
def as_internvl3(folder: Path, tmp_path: Path) -> Path:
    """The checkpoint's files with the sizes and ids of InternVL3-1B; its weights are not looked at."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    target = Path(shutil.copytree(folder, tmp_path / "as-internvl3"))
    letters = {text: i for i, text in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    first = IDS["<|im_start|>"] - 1
    vocabulary = letters | {f"unused {i}": i for i in range(len(letters), first)}
    bpe = Tokenizer(models.BPE(vocabulary, []))
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    assert write_tokenizer(target, bpe)[SPECIAL_TOKENS[0]] == first
    config = json.loads((target / "config.json").read_text())
    sizes = {"hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2}
    sizes |= {"intermediate_size": 4864, "vocab_size": 151_674}
    config["text_config"] |= sizes | {"layer_types": ["full_attention"] * 24}
    config["vision_config"] |= {"image_size": [448, 448]}
    config |= {"image_token_id": IDS["<IMG_CONTEXT>"], "image_seq_length": 256}
    (target / "config.json").write_text(json.dumps(config))
    images = json.loads((target / "preprocessor_config.json").read_text())
    (target / "preprocessor_config.json").write_text(json.dumps(images | {"size": {"height": 448, "width": 448}}))
    generation = json.loads((target / "generation_config.json").read_text())
    (target / "generation_config.json").write_text(json.dumps(generation | {"eos_token_id": IDS["<|im_end|>"]}))
    return target


def test_files_as_internvl3_has_them_agree_in_everything_and_one_change_is_named(as_internvl3: Path) -> None:
    checkpoint = open_checkpoint(str(as_internvl3))
    assert family_member(checkpoint) == "InternVL3-1B"
    assert [fact for fact in compare_files(checkpoint) if not fact.agrees] == []
    generation = as_internvl3 / "generation_config.json"
    generation.write_text(json.dumps(json.loads(generation.read_text()) | {"repetition_penalty": 1.05}))
    images = as_internvl3 / "preprocessor_config.json"
    images.write_text(json.dumps(json.loads(images.read_text()) | {"image_mean": [0.5, 0.5, 0.5]}))
    differing = {fact.what: fact.found for fact in compare_files(open_checkpoint(str(as_internvl3))) if not fact.agrees}
    assert differing == {
        "mean of the pixels": "(0.5, 0.5, 0.5)",
        "settings that Carscribe's greedy decoding leaves out": "repetition_penalty 1.05",
    }


def test_another_model_differs_as_a_matter_of_fact(report: FidelityReport) -> None:
    found = next(finding for finding in fidelity_findings(report) if finding.topic == "Checkpoint")
    assert (found.status, found.advice) == ("note", None)
    assert "free to differ" in found.what
    assert "and 7 more" in found.what
    assert tie_limit(report) < 0.05
