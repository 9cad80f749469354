"""A checkpoint with another language model loads, says what transformers says, and kept what it was to keep."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from alone import Alone, Recording, assert_equals_alone, choice_prompt, open_prompt, photo
from fake_hub import COMMIT, NAME, FakeHub, serving
from language_models import write_language_model
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoTokenizer

from carscribe.backbone.findings import Check
from carscribe.backbone.room import refuse_target
from carscribe.backbone.rules import KINDS
from carscribe.backbone.runs import open_both, swap_backbone
from carscribe.backbone.swapping import Swapped
from carscribe.engines.checkpoint import open_checkpoint
from carscribe.engines.prompting import PromptEncoder
from carscribe.errors import CheckpointError, OutputError
from carscribe.finetune.models import LANGUAGE_LAYERS, load_for_training
from carscribe.finetune.settings import Settings
from carscribe.records import Request

Make = Callable[..., Path]
PROMPTS = (
    open_prompt("What are the wheels like?"),
    open_prompt("Describe this car's design briefly and precisely: body type."),
    open_prompt("휠은 어떤가요? 짧은 구로 답하세요."),
    choice_prompt("Which body type?", ("sedan", "SUV", "컨버터블")),
)


def swapped(base: Path, llm: Path, to: Path, **options: Any) -> tuple[Check, Swapped]:
    return swap_backbone(open_both(str(base), str(llm)), to, **options)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a folder, by the end of their names from the part they are of."""
    found = {}
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118
                found[name] = file.get_tensor(name)
    return found


def part(tensors: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {key[key.index(name) :]: tensor for key, tensor in tensors.items() if name in key}


def assert_answers_as_alone(folder: Path) -> Recording:
    engine = Recording(open_checkpoint(str(folder)), device="cpu", dtype="float32")
    requests = [Request(tiles=photo(seed, 3), prompts=PROMPTS) for seed in range(2)]
    assert_equals_alone(engine, Alone(folder), requests)
    assert len({tuple(ids) for ids in engine.ids.values()}) > 3, "a model that always says the same proves nothing"
    return engine


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_that_a_check_lets_pass_answers_packed_as_alone(
    kind: str, random_checkpoint: Make, tmp_path: Path
) -> None:
    llm = write_language_model(tmp_path / "llm", kind)
    check, written = swapped(random_checkpoint(), llm, tmp_path / "swapped")
    assert (check.verdict, written.new_projector) == ("projector", True)
    engine = assert_answers_as_alone(written.folder)
    assert (engine._packed.layers is not None) == KINDS[kind].fused
    trained = load_for_training(open_checkpoint(str(written.folder)), Settings(train="projector"), device="cpu")
    learning = {name for name, parameter in trained.named_parameters() if parameter.requires_grad}
    assert learning == {name for name, _ in trained.named_parameters() if "multi_modal_projector" in name}
    linear = [name for name, module in trained.named_modules() if isinstance(module, torch.nn.Linear)]
    layers = [name for name in linear if ".language_model.layers." in name]
    assert [name for name in layers if not re.fullmatch(LANGUAGE_LAYERS, name)] == [], "a LoRA would leave it out"


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("spare", [0, 40])
def test_all_that_is_kept_is_kept_to_the_bit_and_new_rows_are_the_mean(
    tied: bool, spare: int, random_checkpoint: Make, tmp_path: Path
) -> None:
    base = random_checkpoint()
    llm = write_language_model(tmp_path / "llm", width=128, tie_word_embeddings=tied, spare=spare)
    _, written = swapped(base, llm, tmp_path / "swapped")
    before, own, after = weights(base), weights(llm), weights(written.folder)
    assert not written.new_projector
    for name in ("vision_tower.", "multi_modal_projector."):
        kept = part(before, name)
        assert len(kept) > 5
        assert part(after, name).keys() == kept.keys()
        assert all(torch.equal(part(after, name)[key], tensor) for key, tensor in kept.items())
    layers = part(own, "layers.")
    language = part({key: x for key, x in after.items() if "vision" not in key}, "layers.")
    assert layers.keys() == language.keys()
    assert all(torch.equal(language[key], tensor) for key, tensor in layers.items())

    tokenizer = AutoTokenizer.from_pretrained(written.folder)
    new = tokenizer.convert_tokens_to_ids(list(written.new_tokens))
    assert written.new_tokens == ("<img>", "</img>", "<IMG_CONTEXT>", "<video>")
    for name in ("embed_tokens.weight",) if tied else ("embed_tokens.weight", "lm_head.weight"):
        (rows,), (known,) = part(after, name).values(), part(own, name).values()
        count = len(known) - spare
        assert torch.equal(rows[:count], known[:count])
        mean = known[:count].double().mean(0)
        assert all(torch.allclose(rows[i].double(), mean, atol=1e-6) for i in new)
        assert len(rows) == max(len(known), max(new) + 1)
    assert (tied is False) == any(key.endswith("lm_head.weight") for key in after)
    assert_answers_as_alone(written.folder)


def test_config_tokenizer_template_and_ends_agree_and_transformers_loads_it(
    random_checkpoint: Make, tmp_path: Path
) -> None:
    base, llm = random_checkpoint(), write_language_model(tmp_path / "llm", words={"adds_bos": True})
    check, written = swapped(base, llm, tmp_path / "swapped")
    folder = written.folder
    config = json.loads((folder / "config.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.start_image_token_id == tokenizer.convert_tokens_to_ids("<img>")
    assert tokenizer.end_image_token == "</img>"
    assert config["image_token_id"] == tokenizer.context_image_token_id
    assert config["text_config"]["vocab_size"] == len(tokenizer)
    assert config["tie_word_embeddings"] is config["text_config"]["tie_word_embeddings"] is False
    assert {config["dtype"], config["text_config"]["dtype"], config["vision_config"]["dtype"]} == {"float32"}
    done = tokenizer.convert_tokens_to_ids("<|done|>")
    assert json.loads((folder / "generation_config.json").read_text())["eos_token_id"] in (done, [done])
    for name in ("preprocessor_config.json", "processor_config.json"):
        assert (folder / name).read_bytes() == (base / name).read_bytes()
    assert check.chat is not None
    assert (folder / "chat_template.jinja").read_text("utf-8") == check.chat.template
    checkpoint = open_checkpoint(str(folder))
    assert {"<img>", "</img>", "<IMG_CONTEXT>", "<|done|>"} <= checkpoint.reserved
    encoder = PromptEncoder(checkpoint)
    assert encoder.end_of_turn_id == done
    ids = encoder.ids("Wheels?", 1)
    assert Counter(ids)[tokenizer.bos_token_id] == 1
    assert encoder.later_turn("And?")
    model = AutoModelForImageTextToText.from_pretrained(folder)
    assert type(model).__name__ == "InternVLForConditionalGeneration"


def test_bases_own_language_model_swapped_in_answers_as_base_does(random_checkpoint: Make, tmp_path: Path) -> None:
    base, llm = random_checkpoint(), tmp_path / "llm"
    whole = AutoModelForImageTextToText.from_pretrained(base)
    own = AutoModelForCausalLM.from_config(whole.config.text_config)
    own.model.load_state_dict(whole.model.language_model.state_dict())
    own.lm_head.load_state_dict(whole.lm_head.state_dict())
    own.save_pretrained(llm)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (llm / name).write_bytes((base / name).read_bytes())
    check, written = swapped(base, llm, tmp_path / "swapped")
    assert (check.verdict, written.new_tokens, written.new_projector) == ("as_is", (), False)
    requests = [Request(tiles=photo(seed, 3), prompts=PROMPTS) for seed in range(2)]
    answers = [
        Recording(open_checkpoint(str(folder)), device="cpu", dtype="float32").answer(requests)
        for folder in (base, written.folder)
    ]
    assert answers[0] == answers[1]


def test_a_model_without_a_template_gets_chatml_and_the_tokens_of_it(random_checkpoint: Make, tmp_path: Path) -> None:
    llm = write_language_model(tmp_path / "llm", "qwen2", words={"template": None})
    check, written = swapped(random_checkpoint(), llm, tmp_path / "swapped")
    assert check.chat is not None
    assert check.chat.origin == "chatml"
    assert {"<|im_start|>", "<|im_end|>"} < set(written.new_tokens)
    tokenizer = AutoTokenizer.from_pretrained(written.folder)
    ends = json.loads((written.folder / "generation_config.json").read_text())["eos_token_id"]
    assert ends == tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|done|>"])
    assert_answers_as_alone(written.folder)


def test_scaled_logits_are_taken_up_by_the_output_layer(random_checkpoint: Make, tmp_path: Path) -> None:
    llm = write_language_model(tmp_path / "llm", "hyperclovax", logits_scaling=0.25)
    _, written = swapped(random_checkpoint(), llm, tmp_path / "swapped")
    (head,), (own,) = (part(weights(folder), "lm_head.weight").values() for folder in (written.folder, llm))
    assert torch.equal(head[: len(own)], own * 0.25)
    tied = write_language_model(tmp_path / "tied", "hyperclovax", logits_scaling=0.25, tie_word_embeddings=True)
    with pytest.raises(CheckpointError, match=r"scaled by 0\.25"):
        swapped(random_checkpoint(), tied, tmp_path / "none")


def test_a_base_in_bfloat16_makes_a_checkpoint_in_bfloat16_and_a_seed_makes_the_same_projector(tmp_path: Path) -> None:
    llm = write_language_model(tmp_path / "llm")
    made = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        given = open_both("demo", str(llm))
        _, written = swap_backbone(given, tmp_path / name, seed=seed)
        made.append(weights(written.folder))
    assert {tensor.dtype for tensor in made[0].values()} == {torch.bfloat16}
    first, same, other = (part(tensors, "multi_modal_projector.linear_1.weight") for tensors in made)
    (a,), (b,), (c,) = first.values(), same.values(), other.values()
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_what_cannot_be_done_leaves_nothing_behind(random_checkpoint: Make, tmp_path: Path) -> None:
    base, llm = random_checkpoint(), write_language_model(tmp_path / "llm")
    there = tmp_path / "there"
    there.mkdir()
    with pytest.raises(OutputError, match="is there already"):
        swapped(base, llm, there)
    with pytest.raises(OutputError, match=r"takes 1000000000\.0 GB"):
        refuse_target(tmp_path / "new", 10**18)
    with pytest.raises(OutputError, match="cannot be written"):
        refuse_target(tmp_path / ("x" * 300), 1)
    (llm / "model.safetensors").write_bytes(b"{")
    with pytest.raises(CheckpointError, match="does not load"):
        swapped(base, llm, tmp_path / "new")
    (llm / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="needs its weights as safetensors"):
        swapped(base, llm, tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["llm", "there"]


def test_a_folder_that_would_not_open_is_not_put_in_its_place(
    random_checkpoint: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    llm = write_language_model(tmp_path / "llm")

    def fails(*_: object) -> None:
        raise CheckpointError("its chat template does not render")

    monkeypatch.setattr("carscribe.backbone.swapping.PromptEncoder", fails)
    with pytest.raises(CheckpointError, match="does not render"):
        swapped(random_checkpoint(), llm, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["llm"]


def test_a_hubs_language_model_is_fetched_and_the_command_says_what_was_written(
    random_checkpoint: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    llm, to = write_language_model(tmp_path / "llm"), tmp_path / "swapped"
    huggingface_hub.close_session()
    with serving(FakeHub({path.name: path.read_bytes() for path in llm.iterdir()})) as served:
        environment = os.environ | {"HF_ENDPOINT": served.endpoint, "HF_HOME": str(tmp_path / "hub")}
        command = [
            sys.executable,
            "-m",
            "carscribe",
            "backbone",
            "swap",
            str(random_checkpoint()),
            NAME,
            "--to",
            str(to),
        ]
        done = subprocess.run([*command, "--json"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["folder"], said["projector"], said["verdict"]) == (str(to), "new", "projector")
    assert said["bytes"] == sum(path.stat().st_size for path in to.iterdir())
    origin = json.loads((to / "backbone.json").read_text("utf-8"))
    assert origin["language_model"] == {"name": NAME, "revision": COMMIT}
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (again.returncode, "Traceback" in again.stderr) == (1, False)
