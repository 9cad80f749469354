"""Fine-tuning sets hold what `finetune` learns, in rows that each trainer reads; those at hand read them back."""

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from workspaces import make_workspace

from carscribe.catalog.verdicts import VerdictRow, correct
from carscribe.catalog.workspace import write_workspace
from carscribe.errors import InputError, OutputError
from carscribe.examples import Example
from carscribe.export import SET_FORMATS, SetReport, write_set
from carscribe.finetune.data import Divided, divided, gather
from carscribe.finetune.runs import collect
from carscribe.finetune.settings import Settings

from .conftest import tree
from .test_export_formats import load_with_datasets

HARD = (
    '검은 "멀티스포크" 휠',
    "첫 줄\n둘째 줄\n\n\t끝",
    "it's 20″ \\n no break, \\ and / 🚗👩\u200d🔧",
    '{"a": [1]} <b>low</b>, 2 < 3',
    "<img src='x'>, {{content}} {name} %s",
)
"""Answers that a format may spoil."""

PHOTOS = 10
Export = Callable[..., SetReport]


def teach(workspace: Path, *rows: dict[str, str]) -> None:
    with write_workspace(workspace, create=False) as opened:
        correct(opened, [VerdictRow(where=f"row {i}", values=row) for i, row in enumerate(rows)])


def edited(photo: str, text: str, *, question: str = "wheels", language: str = "en") -> dict[str, str]:
    return {"photo": photo, "question": question, "language": language, "verdict": "edited", "text": text}


def approved(photo: str, *, question: str = "colour", language: str = "en") -> dict[str, str]:
    return {"photo": photo, "question": question, "language": language, "verdict": "approved"}


def make_taught(folder: Path) -> Path:
    """A workspace of ten photos with two or three pairs each, and some verdicts that teach nothing."""
    workspace = make_workspace(folder, photos=PHOTOS)
    names = [f"차 {i}.png" for i in range(PHOTOS)]
    rejected = approved(names[0], question="colour", language="ko") | {"verdict": "rejected"}
    teach(
        workspace,
        *(edited(name, HARD[i % len(HARD)]) for i, name in enumerate(names)),
        *(approved(name) for name in names),
        *(edited(name, "색 🚗", language="ko") for name in names[:4]),
        rejected,
    )
    return workspace


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_taught(tmp_path_factory.mktemp("가르친 것"))


@pytest.fixture(scope="module")
def parts(taught: Path) -> Divided:
    return divided(taught, held_out=0.3, seed=1)


def test_photos_that_a_check_put_together_stay_on_one_side(taught: Path, tmp_path: Path) -> None:
    alone = divided(taught, held_out=0.3, seed=1)
    together = [alone.learned[0], alone.held[0], alone.held[1]]
    group = {"why": "near_duplicate", "photos": [{"photo": each.key, "sha256": each.sha256} for each in together]}
    report = tmp_path / "check.json"
    report.write_text(json.dumps({"carscribe_check": 1, "flagged": [], "groups": [group]}), "utf-8")
    for seed in range(5):
        held = {each.key for each in divided(taught, held_out=0.4, seed=seed, checked=report).held}
        assert len(held & {each.key for each in together}) in {0, 3}


@pytest.fixture
def export(parts: Divided, to: Path) -> Export:
    """Exports the workspace's set, 7 photos to learn and 3 held out."""
    return lambda format_, **options: write_set(format_, parts.learned, parts.held, to, **options)


def rows_of(folder: Path, side: str = "train") -> list[dict[str, Any]]:
    with (folder / f"{side}.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def told(examples: Iterable[Example]) -> list[tuple[str, str, str]]:
    """(photo, question, answer) of every pair."""
    return [(str(each.photo), pair.question, pair.answer) for each in examples for pair in each.pairs]


def exported(rows: Iterable[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """The same of a row of any format that holds one pair."""
    found = []
    for row in rows:
        if "conversations" in row:
            question, answer = (each["value"] for each in row["conversations"])
        else:
            talk = row["messages"] if "messages" in row else [*row["prompt"], *row["completion"]]
            question, answer = (each["content"] for each in talk)
        found.append((row["image"] if "image" in row else row["images"][0], question, answer))
    return found


@pytest.mark.parametrize("format_", SET_FORMATS)
def test_a_set_is_what_finetune_would_learn_and_hold_out(
    export: Export, taught: Path, to: Path, tmp_path: Path, format_: str
) -> None:
    report = export(format_)
    learns = collect(taught, Settings(held_out=0.3, seed=1), say=lambda _: None)
    mark = {"trl": "", "ms-swift": "<image>"}.get(format_, "<image>\n")
    root = f"{taught.parent / 'photos'}/" if format_ == "internvl" else ""
    for side, data in (("train", learns.learned), ("held_out", learns.held)):
        wanted = [
            (row["photo"].removeprefix(root), mark + question, answer)
            for row in data
            for question, answer in zip(row["questions"], row["answers"], strict=True)
        ]
        assert exported(rows_of(to, side)) == wanted
    assert (report.photos, report.held_out_photos, report.pairs + report.held_out_pairs) == (7, 3, 2 * PHOTOS + 4)
    assert {answer for _, _, answer in exported(rows_of(to))} & set(HARD)


def test_rows_are_laid_out_as_each_trainer_says(export: Export, parts: Divided, to: Path, tmp_path: Path) -> None:
    example = parts.learned[0]
    pair = example.pairs[0]
    user, assistant = {"role": "user"}, {"role": "assistant", "content": pair.answer}
    expected = {
        "trl": {
            "images": [example.photo],
            "prompt": [{**user, "content": pair.question}],
            "completion": [assistant],
        },
        "ms-swift": {
            "messages": [{**user, "content": f"<image>{pair.question}"}, assistant],
            "images": [example.photo],
        },
        "llama-factory": {
            "messages": [{**user, "content": f"<image>\n{pair.question}"}, assistant],
            "images": [example.photo],
        },
        "internvl": {
            "id": 0,
            "image": Path(str(example.photo)).name,
            "width": 32,
            "height": 24,
            "conversations": [
                {"from": "human", "value": f"<image>\n{pair.question}"},
                {"from": "gpt", "value": pair.answer},
            ],
        },
    }
    for format_, row in expected.items():
        folder = tmp_path / format_
        write_set(format_, parts.learned, (), folder)
        first = rows_of(folder)[0]
        assert first == row
        assert list(first) == list(row)
        assert not (folder / "held_out.jsonl").exists()  # loaders stop at an empty file


@pytest.mark.parametrize("format_", ["ms-swift", "llama-factory", "internvl"])
def test_turns_put_a_photo_into_one_row_with_one_placeholder(
    export: Export, parts: Divided, to: Path, format_: str
) -> None:
    export(format_, turns=True)
    rows = rows_of(to)
    assert len(rows) == len(parts.learned)
    for row, example in zip(rows, parts.learned, strict=True):
        texts = [each.get("content", each.get("value")) for each in row.get("messages", row.get("conversations"))]
        assert texts[0].startswith("<image>")
        assert "".join(texts).count("<image>") == 1
        assert texts[1::2] == [pair.answer for pair in example.pairs]
        assert texts[2::2] == [pair.question for pair in example.pairs][1:]


def test_trl_learns_no_turns(export: Export, to: Path) -> None:
    with pytest.raises(InputError, match="would lose the others"):
        export("trl", turns=True)
    assert not to.exists()


@pytest.mark.parametrize(("format_", "turns"), [("trl", False), ("ms-swift", False), ("ms-swift", True)])
def test_finetune_reads_a_set_back_with_equal_pairs(
    export: Export, parts: Divided, to: Path, format_: str, turns: bool
) -> None:
    export(format_, turns=turns)
    for side, examples in (("train", parts.learned), ("held_out", parts.held)):
        read = gather(to / f"{side}.jsonl")
        assert told(read.examples) == told(examples)
        assert [each.sha256 for each in read.examples] == [each.sha256 for each in examples]
        assert not read.left_out


@pytest.mark.parametrize("format_", ["trl", "ms-swift"])
def test_a_set_with_its_images_can_be_moved(export: Export, parts: Divided, to: Path, format_: str) -> None:
    report = export(format_, images="copy")
    assert (report.copied, report.renamed.count) == (PHOTOS, 0)
    moved = to.rename(to.with_name("moved"))
    assert [Path(row["images"][0]).parts[0] for row in rows_of(moved)] == ["images"] * report.pairs
    read = gather(moved / "train.jsonl")
    assert [pair for each in read.examples for pair in told([replace(each, photo="")])] == [
        pair for each in parts.learned for pair in told([replace(each, photo="")])
    ]


class TextProcessor:
    """InternVL3's processor without the half that needs torchvision: a photo stays one token."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.apply_chat_template = tokenizer.apply_chat_template

    def __call__(self, *, text: list[str], images: Any = None, **options: Any) -> Any:
        return self.tokenizer(text, **options)


def test_trl_itself_collates_a_set(
    export: Export, parts: Divided, to: Path, tmp_path: Path, random_checkpoint: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    export("trl")
    loaded = load_with_datasets(
        monkeypatch, tmp_path / "cache", "json", data_files={"train": str(to / "train.jsonl")}, split="train"
    )
    from datasets import Image as Picture
    from datasets import List
    from transformers import AutoTokenizer
    from trl.data_utils import is_conversational, prepare_multimodal_messages
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    rows = list(loaded.cast_column("images", List(Picture())))
    assert all(is_conversational(row) for row in rows)
    prepared = prepare_multimodal_messages(rows[0]["prompt"], images=rows[0]["images"])
    assert [part["type"] for part in prepared[0]["content"]] == ["image", "text"]
    processor = TextProcessor(AutoTokenizer.from_pretrained(random_checkpoint()))
    batch = DataCollatorForVisionLanguageModeling(processor, completion_only_loss=True)(rows[:3])
    answers = [pair.answer for each in parts.learned for pair in each.pairs]
    for labels, ids, answer in zip(batch["labels"], batch["input_ids"], answers, strict=False):
        learned = processor.tokenizer.decode(labels[labels != -100], clean_up_tokenization_spaces=False)
        assert learned.removesuffix("\n") == f"{answer}<|im_end|>"
        assert (ids == processor.tokenizer.context_image_token_id).sum() == 1


def test_ms_swift_finds_what_it_checks(export: Export, to: Path) -> None:
    """As ms-swift 4.6.0 checks rows (dataset/preprocessor/core.py, RowPreprocessor) and splits texts at its tags
    (template/base.py, Template.special_tokens). `swift.dataset.load_dataset` itself was run by hand: docs/export.md."""
    export("ms-swift")
    tags = ["<image>", "<video>", "<audio>", "<bbox>", "<ref-object>", "<cot-process>", "<start-image>"]
    for row in rows_of(to):
        assert set(row) <= {"messages", "images"}
        assert [set(message) for message in row["messages"]] == [{"role", "content"}] * 2
        assert [message["role"] for message in row["messages"]] == ["user", "assistant"]
        whole = "".join(message["content"] for message in row["messages"])
        assert [tag for tag in tags for _ in range(whole.count(tag))] == ["<image>"] * len(row["images"])
        assert all(Path(path).is_absolute() and Path(path).is_file() for path in row["images"])


def test_llama_factory_finds_what_it_checks(export: Export, to: Path) -> None:
    """As LLaMA-Factory 0.9.5 reads `dataset_info.json` (data/parser.py), roles in turn (data/converter.py,
    SharegptDatasetConverter) and as many placeholders as media (data/mm_plugin.py, _validate_messages); these were run
    by hand too: docs/export.md."""
    export("llama-factory")
    entries = json.loads((to / "dataset_info.json").read_text("ascii"))  # it opens the file in the system's encoding
    assert list(entries) == ["carscribe_train", "carscribe_held_out"]
    for entry in entries.values():
        assert entry["formatting"] == "sharegpt"
        tags, columns = entry["tags"], entry["columns"]
        for row in rows_of(to, entry["file_name"].removesuffix(".jsonl")):
            messages = row[columns["messages"]]
            assert [each[tags["role_tag"]] for each in messages] == [tags["user_tag"], tags["assistant_tag"]]
            whole = "".join(each[tags["content_tag"]] for each in messages)
            assert (whole.count("<image>"), whole.count("<video>"), whole.count("<audio>")) == (1, 0, 0)
            assert all((to / path).is_file() for path in row[columns["images"]])
    assert "--template intern_vl" in (to / "README.md").read_text("utf-8")


@pytest.mark.parametrize("images", ["none", "copy"])
def test_internvl_finds_what_it_asserts(export: Export, to: Path, images: str) -> None:
    """As OpenGVLab/InternVL 2410d1d asserts in internvl_chat/internvl/train: internvl_chat_finetune.py
    (build_datasets, LazySupervisedDataset) and dataset.py (preprocess_internvl2_5)."""
    export("internvl", images=images)
    for name in ("meta.json", "meta_held_out.json"):
        ((_, meta),) = json.loads((to / name).read_text("utf-8")).items()
        assert meta["annotation"].endswith("jsonl")
        assert Path(meta["annotation"]).is_absolute()
        assert isinstance(meta["repeat_time"], int)
        assert (meta["data_augment"], meta["max_dynamic_patch"]) == (False, 12)
        with Path(meta["annotation"]).open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines.readlines()]
        assert meta["length"] == len(rows)
        for row in rows:
            assert not Path(row["image"]).is_absolute()
            with Image.open(Path(meta["root"]) / row["image"]) as image:
                assert image.size == (row["width"], row["height"])
            assert [each["from"] for each in row["conversations"]] == ["human", "gpt"]
            whole = "".join(each["value"] for each in row["conversations"])
            assert row["conversations"][0]["value"].startswith("<image>\n")
            assert whole.count("<image>") == 1
            assert not re.search(r"</?img>|<IMG_CONTEXT>", whole)


def test_broken_and_changed_photos_and_misread_answers_are_named_and_left_out(tmp_path: Path) -> None:
    workspace = make_taught(tmp_path)
    photos = tmp_path / "photos"
    whole = (photos / "차 0.png").read_bytes()
    (photos / "차 0.png").write_bytes(whole[: len(whole) // 2])  # its header is good
    (photos / "차 1.png").unlink()
    shutil.copy(photos / "차 2.png", photos / "차 3.png")
    marks = {"차 4.png": "a <image> of it", "차 5.png": "done<|im_end|>", "차 6.png": "<IMG_\x00CONTEXT>"}
    teach(workspace, *(edited(name, text) for name, text in marks.items()))
    found = divided(workspace, held_out=0.0, seed=0)
    left_out = dict(found.left_out)
    assert "damaged" in left_out["차 0.png"]
    assert "does not exist" in left_out["차 1.png"]
    assert "has changed" in left_out["차 3.png"]
    for name, mark in (("차 4.png", "<image>"), ("차 5.png", "<|im_end|>"), ("차 6.png", "<IMG_CONTEXT>")):
        assert left_out[name].startswith(f"wheels (en): its answer holds {mark}")
    write_set("ms-swift", found.learned, found.held, tmp_path / "out")
    rows = exported(rows_of(tmp_path / "out"))
    assert {Path(photo).name for photo, _, _ in rows} == {f"차 {i}.png" for i in (2, 4, 5, 6, 7, 8, 9)}
    assert sum(photo.endswith("차 4.png") for photo, _, _ in rows) == 1  # what else was approved of it


@pytest.mark.parametrize("format_", SET_FORMATS)
def test_no_text_carries_control_characters(tmp_path: Path, format_: str) -> None:
    workspace = make_workspace(tmp_path)
    teach(workspace, edited("차 0.png", "red\x1b[31m\r\nlow\u2028\x07wide\x85end\ttab \U0001f468\u200d\U0001f467"))
    found = divided(workspace, held_out=0.0, seed=0)
    write_set(format_, found.learned, found.held, tmp_path / "out")
    raw = (tmp_path / "out" / "train.jsonl").read_text("utf-8")
    assert len(raw.splitlines()) == 1
    ((_, _, answer),) = exported(rows_of(tmp_path / "out"))
    assert answer == "red[31m\nlow\nwide\nend\ttab \U0001f468\u200d\U0001f467"


def test_sizes_are_those_after_rotation_and_trainers_that_do_not_turn_are_told(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.effect_noise((40, 24), 60).convert("RGB").save(tmp_path / "photos" / "lying.jpg", exif=exif)
    Image.effect_noise((40, 24), 60).convert("RGB").save(tmp_path / "photos" / "plain.jpg")
    workspace = make_workspace(tmp_path)
    teach(workspace, edited("lying.jpg", "a"), edited("plain.jpg", "b"))
    found = divided(workspace, held_out=0.0, seed=0)
    reports = {name: write_set(name, found.learned, found.held, tmp_path / name) for name in SET_FORMATS}
    assert {name: report.turned for name, report in reports.items()} == {
        "trl": 0,  # datasets turns images while it decodes them
        "ms-swift": 1,
        "llama-factory": 1,
        "internvl": 1,
    }
    rows = rows_of(tmp_path / "internvl")
    assert [(row["width"], row["height"]) for row in rows] == [(24, 40), (40, 24)]
    assert "1 photos are turned by EXIF" in (tmp_path / "internvl" / "README.md").read_text("utf-8")
    assert "turned by EXIF" not in (tmp_path / "trl" / "README.md").read_text("utf-8")


def test_one_car_stands_on_one_side(tmp_path: Path) -> None:
    cars = [{"image": f"차 {i}.png", "name": f"car {i // 3}"} for i in range(12)]
    (tmp_path / "cars.json").write_text(json.dumps(cars), "utf-8")
    workspace = make_workspace(tmp_path, photos=12, metadata=tmp_path / "cars.json")
    teach(workspace, *(edited(f"차 {i}.png", "x") for i in range(12)))
    found = divided(workspace, held_out=0.5, seed=0)
    sides = [{int(re.findall(r"\d+", each.key)[0]) // 3 for each in side} for side in (found.learned, found.held)]
    assert sides[0] | sides[1] == {0, 1, 2, 3}
    assert all(sides)
    assert not sides[0] & sides[1]


def test_a_set_of_absolute_paths_leaves_out_a_photo_whose_path_is_no_text(parts: Divided, to: Path) -> None:
    odd = replace(parts.learned[0], photo="/photos/\udcb0.png", key="\\xb0.png")
    report = write_set("ms-swift", [odd, parts.learned[1]], (), to)
    assert (report.photos, report.unwritable.first) == (1, ("\\xb0.png",))
    with pytest.raises(InputError, match="rename them"):
        write_set("ms-swift", [odd], (), to, overwrite=True)
    assert len(rows_of(to)) == len(parts.learned[1].pairs)  # what was there stays
    with pytest.raises(OutputError, match="no text"):
        write_set("trl", parts.learned, (), to / "\udcb0")


def test_a_set_is_replaced_whole(export: Export, to: Path, parts: Divided) -> None:
    export("llama-factory", images="copy")
    report = write_set("llama-factory", parts.learned, (), to, overwrite=True)
    assert tree(to) == ["README.md", "dataset_info.json", "train.jsonl"]
    assert report.removed == PHOTOS + 1  # the images and the held-out rows


@pytest.mark.parametrize("images", ["none", "copy"])
def test_the_readme_of_trl_is_a_program_that_loads_the_set(
    export: Export, to: Path, tmp_path: Path, images: str
) -> None:
    report = export("trl", images=images)
    (program,) = re.findall(r"```python\n(.*?)\n```", (to / "README.md").read_text("utf-8"), re.DOTALL)
    loading = [
        each
        for each in ast.parse(program).body
        if not (isinstance(each, ast.ImportFrom) and each.module in {"trl", "peft"})
    ][:-1]
    loading += ast.parse("print(rows.num_rows, rows['train'][0]['images'][0].size)").body
    done = subprocess.run(
        [sys.executable, "-c", ast.unparse(ast.Module(loading, []))],
        cwd=tmp_path,
        env={"HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1", "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    wanted = f"{ {'train': report.pairs, 'held_out': report.held_out_pairs} } (32, 24)"
    assert done.stdout.splitlines()[-1:] == [wanted], done.stderr


@pytest.mark.parametrize("format_", SET_FORMATS)
def test_commands_name_the_folder_however_it_is_called(parts: Divided, tmp_path: Path, format_: str) -> None:
    folder = tmp_path / "it's 한 $HOME"
    write_set(format_, parts.learned, parts.held, folder)
    text = (folder / "README.md").read_text("utf-8")
    assert str(folder) in text or str(folder).replace("'", "'\"'\"'") in text
    for block in re.findall(r"```sh\n(.*?)\n```", text, re.DOTALL):
        assert subprocess.run(["bash", "-n"], input=block, text=True, check=False).returncode == 0


@pytest.mark.parametrize("format_", SET_FORMATS)
def test_the_command_line_writes_the_wished_share_of_the_wished_answers(
    taught: Path, parts: Divided, to: Path, format_: str
) -> None:
    asked = ["export", taught, "--format", format_, "--to", to, "--language", "en", "--held-out", "0.3", "--seed", "1"]
    command = [sys.executable, "-m", "carscribe", *map(str, asked)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert "Written    14 pairs of 7 photos to learn" in done.stdout
    assert "Held out   6 pairs of 3 photos" in done.stdout
    assert {question for _, question, _ in told(parts.learned)} == {"Color?", "wheels", "휠"}
    assert {question.rpartition(">")[2].strip() for _, question, _ in exported(rows_of(to))} == {"Color?", "wheels"}
    again = subprocess.run([*command, "--json", "--overwrite"], capture_output=True, text=True, check=False)
    report = json.loads(again.stdout)
    assert (report["format"], report["pairs"], report["held_out_pairs"], report["left_out"]) == (format_, 14, 6, [])


def test_the_command_line_keeps_together_what_a_check_found_alike(taught: Path, parts: Divided, to: Path) -> None:
    together = [parts.learned[0], parts.held[0]]
    group = {"why": "near_duplicate", "photos": [{"photo": each.key, "sha256": each.sha256} for each in together]}
    report = to.with_suffix(".json")
    report.write_text(json.dumps({"carscribe_check": 1, "flagged": [], "groups": [group]}), "utf-8")
    asked = ["export", taught, "--format", "trl", "--to", to, "--held-out", "0.3", "--seed", "1", "--checked", report]
    command = [sys.executable, "-m", "carscribe", *map(str, asked)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    held = {Path(row["images"][0]).name for row in rows_of(to, "held_out")}
    assert len(held & {each.key for each in together}) in {0, 2}
    expected = divided(taught, held_out=0.3, seed=1, checked=report)
    assert held == {each.key for each in expected.held} != {each.key for each in parts.held}
