"""Whether a language model may take InternVL3's place, said from small files alone; and the engine says the same."""

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from fake_hub import COMMIT, NAME, FakeHub, serving
from language_models import TURNS, language_config, write_words
from rich.cells import cell_len
from rich.console import Console

from carscribe.backbone.checking import Given, check_backbone, sample
from carscribe.backbone.findings import Check, Finding
from carscribe.backbone.language_model import Words, open_base, open_language_model
from carscribe.backbone.rules import KINDS
from carscribe.backbone.runs import open_both, swap_backbone
from carscribe.engines.checkpoint import open_checkpoint
from carscribe.engines.hub import Hub
from carscribe.engines.local import LocalEngine
from carscribe.engines.new_checkpoint import train_bpe, write_tokenizer
from carscribe.engines.transfer import Patience
from carscribe.errors import CheckpointError
from carscribe.terminal.backbone import show_check
from carscribe.terminal.screen import Screen

Make = Callable[..., Path]
PLAIN = {
    "model_type": "llama",
    "hidden_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 160,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": False,
    "dtype": "float32",
}


def described(folder: Path, config: dict[str, Any] | None = None, **words: Any) -> Path:
    """A language model's folder without weights."""
    ids = write_words(folder, **words)
    whole = PLAIN | {"vocab_size": max(ids.values()) + 1} | (config or {})
    (folder / "config.json").write_text(json.dumps({k: v for k, v in whole.items() if v != "left out"}), "utf-8")
    return folder


def checked(base: Path | str, llm: Path) -> Check:
    return check_backbone(open_both(str(base), str(llm)))


def found(check: Check, topic: str) -> Finding:
    return next(finding for finding in check.findings if finding.topic == topic)


@pytest.mark.parametrize(
    ("config", "topic", "status", "says"),
    [
        ({}, "architecture", "fine", ""),
        ({"model_type": "mistral", "sliding_window": None}, "architecture", "fine", "not fused"),
        ({"model_type": "t5", "is_encoder_decoder": True}, "architecture", "impossible", "an encoder and a decoder"),
        ({"model_type": "qwen3_moe", "num_experts": 128}, "architecture", "impossible", "mixture of 128 experts"),
        ({"model_type": "mixtral", "num_local_experts": 8}, "architecture", "impossible", "mixture of 8 experts"),
        ({"model_type": "mamba"}, "architecture", "impossible", "running state"),
        ({"model_type": "exaone", "auto_map": {"AutoModel": "x.Y"}}, "architecture", "impossible", "code of its own"),
        ({"model_type": "llama", "auto_map": {"AutoModel": "x.Y"}}, "architecture", "fine", ""),
        ({"model_type": "gemma3", "vision_config": {}}, "architecture", "impossible", "several modalities"),
        ({"model_type": "phi9"}, "architecture", "impossible", "never proved to run here; those that were: qwen2"),
        ({}, "hidden size", "work", "a new projector to 96"),
        ({"hidden_size": 128}, "hidden size", "fine", "the projector is kept"),
        ({"hidden_size": "left out"}, "hidden size", "impossible", "names no hidden_size"),
        ({}, "positions", "fine", ""),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0}}, "positions", "fine", ""),
        ({"rope_parameters": {"rope_type": "longrope"}}, "positions", "impossible", "'longrope' is not run"),
        ({"model_type": "bloom"}, "positions", "impossible", "ALiBi"),
        ({"model_type": "falcon", "alibi": True}, "positions", "impossible", "ALiBi"),
        ({"model_type": "gpt2"}, "positions", "impossible", "learned"),
        ({}, "context", "fine", "13 tiles takes 208 tokens"),
        ({"max_position_embeddings": 1100}, "context", "work", "photos of 4 tiles at most: describe --max-tiles 3"),
        ({"max_position_embeddings": 1024}, "context", "impossible", "one tile and its questions take 1040"),
        ({}, "attention", "fine", ""),
        ({"sliding_window": 4096}, "attention", "impossible", "sliding window of 4,096"),
        ({"sliding_window": 8192}, "attention", "fine", ""),
        ({"model_type": "mistral"}, "attention", "impossible", "sliding window of 4,096"),
        ({"model_type": "qwen2", "sliding_window": 4096}, "attention", "fine", ""),
        ({"sliding_window": 4096, "use_sliding_window": True, "max_window_layers": 2}, "attention", "fine", ""),
        (
            {"layer_types": ["sliding_attention", "full_attention"]},
            "attention",
            "impossible",
            "layers of type sliding_attention cannot be packed",
        ),
        ({"attn_logit_softcapping": 50.0}, "attention", "impossible", "capped"),
        ({"is_causal": False}, "attention", "impossible", "looks ahead"),
        ({}, "output layer", "fine", ""),
        ({"tie_word_embeddings": True}, "output layer", "fine", "tied it stays"),
        ({"final_logit_softcapping": 30.0}, "output layer", "impossible", "capped"),
        (
            {"model_type": "granite", "logits_scaling": 8.0},
            "output layer",
            "fine",
            "multiplies the output layer by 0.125",
        ),
        (
            {"model_type": "granite", "logits_scaling": 8.0, "tie_word_embeddings": True},
            "output layer",
            "impossible",
            "scaled by 0.125",
        ),
        ({"dtype": "bfloat16"}, "dtype", "fine", "cast to float32"),
        ({"quantization_config": {"quant_method": "awq"}}, "dtype", "impossible", "quantised (awq)"),
        ({"intermediate_size": "left out"}, "memory", "work", "'intermediate_size' is not said"),
        ({}, "memory", "fine", "13 tiles"),
        ({"vocab_size": "left out"}, "vocabulary", "impossible", "names no vocab_size"),
    ],
)
def test_what_a_config_says_is_told_with_the_reason(
    config: dict[str, Any], topic: str, status: str, says: str, random_checkpoint: Make, tmp_path: Path
) -> None:
    check = checked(random_checkpoint(), described(tmp_path / "llm", config))
    finding = found(check, topic)
    assert (finding.status, says in finding.says) == (status, True), finding
    impossible = [each.says for each in check.findings if each.status == "impossible"]
    assert (check.verdict == "cannot") == bool(impossible)
    if impossible:
        assert check.line.startswith(f"Cannot: {impossible[0]}")


@pytest.mark.parametrize("kind", KINDS)
def test_where_a_config_is_silent_the_kinds_defaults_are_those_of_transformers(kind: str) -> None:
    from transformers import CONFIG_MAPPING

    config = CONFIG_MAPPING[kind]()
    assert KINDS[kind].tied == config.tie_word_embeddings
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    assert (KINDS[kind].window if KINDS[kind].windowed else None) == window
    assert KINDS[kind].windowed == getattr(config, "use_sliding_window", True)


@pytest.mark.parametrize(
    ("template", "status", "says", "origin", "ends"),
    [
        (TURNS, "work", "swap adds the image part", "own", "<|done|>"),
        (TURNS.replace("['content'] | trim", "['content']"), "work", "swap adds the image part", "own", "<|done|>"),
        (None, "work", "it has none: swap writes ChatML", "chatml", "<|im_end|>"),
        ([{"name": "default", "template": TURNS}], "work", "swap adds the image part", "own", "<|done|>"),
        ("{{ raise_exception('no') }}", "work", "it does not render (no): swap writes ChatML", "chatml", "<|im_end|>"),
        ("{% for", "work", "it does not render", "chatml", "<|im_end|>"),
        ("{% for m in messages %}{{ m.role }}{% endfor %}", "work", "loses the photo", "chatml", "<|im_end|>"),
        (TURNS.replace("<|done|>", " end"), "work", "ends no turn of the assistant with", "chatml", "<|im_end|>"),
        (TURNS + "{% if enable_thinking %}<think>{% endif %}", "work", "turns thinking off", "own", "<|done|>"),
        (
            "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
            "{{ date_string }}" + TURNS,
            "work",
            "fixes the date",
            "own",
            "<|done|>",
        ),
        (
            TURNS.replace("{{ m['content'] | trim }}", "{%- generation -%}{{ m['content'] }}{% endgeneration %}"),
            "work",
            "swap adds the image part",
            "own",
            "<|done|>",
        ),
    ],
)
def test_a_template_is_kept_where_it_does_and_replaced_where_not(
    template: Any, status: str, says: str, origin: str, ends: str, random_checkpoint: Make, tmp_path: Path
) -> None:
    check = checked(random_checkpoint(), described(tmp_path / "llm", template=template))
    finding = found(check, "chat template")
    assert (finding.status, says in finding.says) == (status, True), finding
    assert check.chat is not None
    assert (check.chat.origin, check.chat.end_of_turn) == (origin, ends)
    assert "2026" not in check.chat.template
    assert check.verdict == "projector"


def test_a_sibling_with_images_in_its_template_loads_as_it_is(random_checkpoint: Make, tmp_path: Path) -> None:
    base = random_checkpoint()
    config = json.loads((base / "config.json").read_text())["text_config"]
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (tmp_path / name).write_bytes((base / name).read_bytes())
    (tmp_path / "config.json").write_text(json.dumps(config))
    check = checked(base, tmp_path)
    assert (check.verdict, check.line.partition(":")[0]) == ("as_is", "Loads as is")
    assert {finding.status for finding in check.findings} == {"fine"}
    assert check.packing[0].base == check.packing[0].llm


def test_tokens_per_100_characters_are_counted_on_the_shipped_samples(tmp_path: Path) -> None:
    korean, english = sample("ko"), sample("en")
    assert all(450 < len(text) < 600 for text in (korean, english))
    assert sum("가" <= character <= "힣" for character in korean) > 0.6 * len(korean)
    for name, texts in (("bytes", ["x"]), ("knowing", [korean] * 5)):
        write_tokenizer_of(tmp_path / name, texts)
    unknowing, knowing = (Words(name, tmp_path / name) for name in ("bytes", "knowing"))
    assert unknowing.tokens_per_100_characters(korean) == pytest.approx(
        100 * len(korean.encode()) / len(korean), rel=0.01
    )
    assert knowing.tokens_per_100_characters(korean) < 60


def write_tokenizer_of(folder: Path, texts: list[str]) -> None:
    folder.mkdir()
    write_tokenizer(folder, train_bpe(texts, 2000))


def test_a_tokenizer_without_its_file_is_said_with_how_to_make_it(random_checkpoint: Make, tmp_path: Path) -> None:
    llm = described(tmp_path / "llm")
    (llm / "tokenizer.json").unlink()
    check = checked(random_checkpoint(), llm)
    assert (check.verdict, check.chat) == ("cannot", None)
    assert "save_pretrained" in found(check, "vocabulary").says
    assert [packing.llm for packing in check.packing] == [None, None]
    (llm / "tokenizer.json").write_text("{")
    assert "cannot be read" in found(checked(random_checkpoint(), llm), "vocabulary").says


@pytest.mark.parametrize(
    ("change", "topic"),
    [
        ({"rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4}}, "positions"),
        ({"layer_types": ["sliding_attention"] * 3, "sliding_window": 64, "use_sliding_window": True}, "attention"),
        ({"model_type": "llama", "max_position_embeddings": 8192}, None),
    ],
)
def test_the_engine_refuses_what_a_check_calls_impossible(
    change: dict[str, Any], topic: str | None, random_checkpoint: Make, tmp_path: Path
) -> None:
    """The language model of a checkpoint, changed; the check sees it alone, the engine inside."""
    base = shutil.copytree(random_checkpoint(), tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    config["text_config"] |= change
    (base / "config.json").write_text(json.dumps(config))
    llm = described(tmp_path / "llm", config["text_config"])
    check = checked(random_checkpoint(), llm)
    assert [each.topic for each in check.findings if each.status == "impossible"] == ([topic] if topic else [])
    if topic:
        with pytest.raises(CheckpointError):
            LocalEngine(open_checkpoint(str(base)), device="cpu", dtype="float32")
        with pytest.raises(CheckpointError, match=r"cannot take the place .* Cannot: "):
            swap_backbone(open_both(str(random_checkpoint()), str(llm)), tmp_path / "to")
        assert not (tmp_path / "to").exists()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    huggingface_hub.close_session()
    llm = described(tmp_path / "llm")
    files = {path.name: path.read_bytes() for path in llm.iterdir()} | {"model.safetensors": b"w" * 100, "x.py": b""}
    with serving(FakeHub(files)) as hub:
        yield hub
    huggingface_hub.close_session()


def test_of_a_hubs_model_the_small_files_alone_are_fetched(served: FakeHub, tmp_path: Path) -> None:
    hub = Hub(endpoint=served.endpoint, cache=tmp_path / "hub", patience=Patience(timeout_s=5, tries=2, wait_s=0.01))
    llm = open_language_model(NAME, hub=hub)
    assert llm.revision == COMMIT
    assert check_backbone(Given(base=open_base("demo"), llm=llm)).verdict == "projector"
    assert not served.gets("model.safetensors")
    assert not served.gets("x.py")


def test_the_command_needs_neither_weights_nor_torch(random_checkpoint: Make, tmp_path: Path) -> None:
    base = shutil.copytree(random_checkpoint(), tmp_path / "base", ignore=shutil.ignore_patterns("*.safetensors"))
    llm = described(tmp_path / "llm")
    code = (
        "import sys; from carscribe.cli import main\ntry: main()\nfinally:\n"
        " print('torch' in sys.modules, 'transformers' in sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "backbone", "check", str(base), str(llm)]
    shown = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"COLUMNS": "160"}, check=True)
    assert shown.stderr.split() == ["False", "False"]
    for said in ("needs work", "swap adds the image part", "Korean", "for 100 characters", "Verdict    Needs the"):
        assert said in shown.stdout
    machine = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    answer = json.loads(machine.stdout)
    assert (answer["verdict"], answer["template"], answer["end_of_turn"]) == ("projector", "own", "<|done|>")
    assert {"topic", "base", "llm", "status", "says"} == set(answer["findings"][0])
    assert answer["tokens_per_100_characters"]["ko"]["llm"] > 0


def test_a_config_of_nonsense_is_one_line(random_checkpoint: Make, tmp_path: Path) -> None:
    llm = described(tmp_path / "llm", {"rope_scaling": "yarn"})
    with pytest.raises(CheckpointError, match="something unexpected"):
        checked(random_checkpoint(), llm)
    llm = described(tmp_path / "llm", {"num_hidden_layers": "two"})
    assert found(checked(random_checkpoint(), llm), "memory").status == "work"


def test_names_of_nothing_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No folder"):
        open_language_model(str(tmp_path / "none"))
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        open_language_model(str(tmp_path))
    with pytest.raises(CheckpointError, match="has no revision"):
        open_language_model(str(tmp_path), revision="main")


def test_configs_of_tiny_models_are_those_that_the_tests_of_swapping_take() -> None:
    ids = {"<s>": 0, "<|done|>": 1}
    assert all(language_config(kind, ids).model_type == kind for kind in KINDS)


def shown(check: Check, width: int) -> list[str]:
    screen = Screen()
    screen.out = Console(file=io.StringIO(), width=width, highlight=False)
    show_check(screen, check)
    return [line.rstrip() for line in screen.out.file.getvalue().splitlines()]  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_table_is_read_in_a_line_or_two_a_finding(width: int, tmp_path: Path) -> None:
    check = checked("demo", described(tmp_path / "llm", {"model_type": "mistral", "sliding_window": 4096}))
    *lines, verdict = shown(check, width)
    assert max(map(cell_len, lines[2:])) <= width, "but for the two paths in front, which are never cut"
    assert verdict == f"Verdict    {check.line}", "one line, to be found by a program"
    starts = [i for i, line in enumerate(lines) if line[:1].strip() and not line.startswith(("BASE", "LLM"))]
    assert len(starts) == len(check.findings) + len(check.packing)
    for finding, start, end in zip(check.findings, starts, [*starts[1:], len(lines)], strict=False):
        assert lines[start].split("  ")[0] == finding.topic
        assert end - start <= 4, "two lines of figures, two of what follows"
        words = " ".join(" ".join(lines[start:end]).split())
        assert finding.says in words, "what follows stands in one piece, no word of it broken"
    status = {finding.topic: line for finding, line in zip(check.findings, (lines[i] for i in starts), strict=False)}
    assert status["attention"].endswith("impossible")
    assert status["hidden size"].endswith("needs work")


def test_a_narrow_terminal_loses_nothing(tmp_path: Path) -> None:
    check = checked("demo", described(tmp_path / "llm"))
    everything = "".join("".join(shown(check, 40)).split())
    for finding in check.findings:
        assert "".join(finding.says.split()) in everything
