"""Budgets of today's models: counted as their pipelines count, with the encoder's own file or not at all.

The files are made here, byte-level pairs with each encoder's special tokens: the rules of counting are what is tested.
Qwen2.5's real tokenizer.json is used where CARSCRIBE_QWEN_TOKENIZER names it.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from carscribe.budgets.composing import compose, fit
from carscribe.budgets.counting import BUDGETS, Budget, budget_of
from carscribe.budgets.encoders import SAMPLES, clip_tokenizer, t5_tokenizer, tokens_per_character
from carscribe.budgets.languages import language_warning, text_warning
from carscribe.budgets.readers import READERS, Reader
from carscribe.budgets.tokenizer_files import tokenizer_file
from carscribe.errors import InputError
from carscribe.records import JudgedAnswer

Generate = Callable[..., list[str]]
Folder = Callable[[str], Path]

DOCS = Path(__file__).parents[2] / "docs" / "budgets.md"
QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN_IMAGE = (
    "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial "
    "relationships of the objects and background:<|im_end|>\n<|im_start|>user\n"
)
QWEN_TURN = ("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n")
FLUX2 = (
    "<s>[SYSTEM_PROMPT]You are an AI that reasons about image descriptions. You give structured responses focusing on "
    "object relationships, object\nattribution and actions without speculation.[/SYSTEM_PROMPT][INST]"
)
LUMINA2 = (
    "<bos>You are an assistant designed to generate superior images with the superior degree of image-text alignment "
    "based on textual prompts or user prompts. <Prompt Start> "
)
SANA = "<bos>Given a user prompt, generate an 'Enhanced prompt' that\n- If the prompt is simple, …\nUser Prompt: "


def learned(reader: Reader) -> Tokenizer:
    """A small vocabulary of bytes and pairs, with the special tokens that a reader's encoder is known by."""
    tokenizer = Tokenizer(models.BPE())
    words = pre_tokenizers.Split(Regex(QWEN_WORDS), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(False, use_regex=False)])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([*SAMPLES.values()] * 3, trainer)
    tokenizer.add_special_tokens([AddedToken(mark, normalized=False) for mark in reader.marks])
    return tokenizer


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The folder of a reader's tokenizer.json, which also says to cut at 4 tokens and to fill up to 50."""
    root, made = tmp_path_factory.mktemp("tokenizers"), dict[str, Path]()

    def of(name: str) -> Path:
        if name not in made:
            tokenizer = learned(READERS[name])
            tokenizer.enable_truncation(4)
            tokenizer.enable_padding(length=50)
            made[name] = root / name
            made[name].mkdir()
            tokenizer.save(str(made[name] / "tokenizer.json"))
        return made[name]

    return of


@pytest.fixture(scope="session")
def qwen() -> Path:
    named = os.environ.get("CARSCRIBE_QWEN_TOKENIZER")
    if not named or not Path(named).is_file():
        pytest.skip("CARSCRIBE_QWEN_TOKENIZER names no tokenizer.json of Qwen2.5")
    return Path(named)


def counted_by_pipeline(name: str, tokenizer: Tokenizer, text: str) -> int:
    """Of a prompt, the tokens that count against a pipeline's limit, as its source counts them."""

    def size(whole: str) -> int:
        return len(tokenizer.encode(whole, add_special_tokens=False).ids)

    user, answer = QWEN_TURN
    match name:
        case "qwen-image" | "qwen-image-1024":
            return size(QWEN_IMAGE + text + answer) - size(QWEN_IMAGE)
        case "z-image":
            return size(user + text + answer)
        case "flux2-klein":
            return size(user + text + answer + "<think>\n\n</think>\n\n")
        case "flux2":
            return size(FLUX2 + text + "[/INST]")
        case "sana":
            return size(SANA + text.lower()) - (size(SANA) - 2)
        case "lumina2":
            return size(LUMINA2 + text)
        case "hidream":
            return size("<|begin_of_text|>" + text)
        case "umt5-512":
            return size(text + "</s>")
    raise AssertionError(f"no pipeline is written down for {name}")


@pytest.mark.parametrize("name", READERS)
def test_a_model_s_budget_counts_as_its_pipeline(name: str, folder: Folder, generate: Generate) -> None:
    budget, tokenizer = budget_of(name, folder(name)), learned(READERS[name])
    texts = ["", "SUV", "은색 세단", SAMPLES["en"], SAMPLES["ko"], *generate(200)]
    texts = [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts]
    assert [budget.count(text) for text in texts] == [counted_by_pipeline(name, tokenizer, text) for text in texts]
    assert budget.count("") == budget.specials
    assert budget.name == name
    assert budget.limit == READERS[name].limit


@pytest.mark.parametrize("name", READERS)
def test_a_description_fits_what_the_pipeline_keeps(name: str, folder: Folder) -> None:
    whole = budget_of(name, folder(name))
    phrases = [f"{color} {part}" for color in ("red", "black", "silver") for part in ("roof", "sill", "wheel", "door")]
    for room in (1, 9, 20, 60):
        budget = replace(whole, limit=whole.specials + room)
        made = fit(", ".join(phrases), budget)
        assert made.tokens == counted_by_pipeline(name, learned(READERS[name]), made.text) <= whole.specials + room
        assert len(made.dropped) + len([part for part in made.text.split(", ") if part]) == len(phrases)


def test_words_are_counted_with_the_space_before_them(folder: Folder) -> None:
    encoder = budget_of("qwen-image", folder("qwen-image")).encoder
    assert encoder is not None
    for line in (*SAMPLES.values(), "a 19-inch five-spoke wheel, 1,5 l (2.0)", "", "red"):
        assert encoder.count_words(line) == encoder.count(line)


def test_an_encoder_whose_words_depend_on_their_place_is_counted_whole(tmp_path: Path) -> None:
    tokenizer = learned(READERS["qwen-image"])
    tokenizer.normalizer = normalizers.Prepend("_ _")
    tokenizer.save(str(tmp_path / "odd.json"))
    encoder = budget_of(f"{tmp_path / 'odd.json'}:50").encoder
    assert encoder is not None
    assert encoder.count_words("red roof, low tail") == encoder.count("red roof, low tail")


@pytest.mark.parametrize("named", ["tokenizer.json", ".", "..model"])
def test_a_tokenizer_is_named_by_file_folder_or_model(named: str, folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "tokenizer").symlink_to(folder("z-image"))
    path = {"tokenizer.json": folder("z-image") / named, ".": folder("z-image"), "..model": tmp_path}[named]
    assert tokenizer_file(path).read_bytes() == (folder("z-image") / "tokenizer.json").read_bytes()
    assert budget_of("z-image", path).count("red") == budget_of("z-image", folder("z-image")).count("red")


def test_a_file_and_a_limit_are_a_budget(tmp_path: Path, generate: Generate) -> None:
    t5_tokenizer().save(str(tmp_path / "tokenizer.json"))
    budget = budget_of(f" {tmp_path}:0256 ")
    assert (budget.name, budget.limit, budget.specials) == (f"{tmp_path.name}:256", 256, 1)
    assert budget_of(f"{tmp_path / 'tokenizer.json'}:256").name == budget.name
    assert [budget.count(text) for text in generate(50)] == [BUDGETS["t5-256"].count(text) for text in generate(50)]
    assert budget.count("a\ud800b") == BUDGETS["t5-256"].count("a\ufffdb")


def test_a_file_says_how_many_special_tokens_it_adds(tmp_path: Path) -> None:
    tokenizer = learned(READERS["hidream"])
    start = "<|begin_of_text|>"
    tokenizer.post_processor = processors.TemplateProcessing(f"{start} $A", None, [(start, 600)])
    tokenizer.save(str(tmp_path / "llama.json"))
    assert budget_of(f"{tmp_path / 'llama.json'}:128").count("red") == counted_by_pipeline("hidream", tokenizer, "red")


@pytest.mark.parametrize(("vocabulary", "knows"), [("clip", False), ("t5", False), ("learned", True)])
def test_a_file_is_believed_unless_its_vocabulary_has_no_hangul(vocabulary: str, knows: bool, tmp_path: Path) -> None:
    made = {"clip": clip_tokenizer, "t5": t5_tokenizer, "learned": lambda: learned(READERS["z-image"])}
    made[vocabulary]().save(str(tmp_path / "some.json"))
    budget = budget_of(f"{tmp_path / 'some.json'}:100")
    assert (budget.knows("ko"), budget.knows("en")) == (knows, True)
    assert (language_warning(budget, "ko") is None) == knows
    assert (text_warning(budget, "은색 세단") is None) == knows


@pytest.mark.parametrize(
    ("name", "text"),
    [(name, "세단") for name in ("qwen-image", "z-image", "flux2-klein", "flux2", "umt5-512")]
    + [(name, "sedan") for name in ("sana", "lumina2", "hidream")],
)
def test_korean_stays_where_the_encoder_reads_it(name: str, text: str, folder: Folder) -> None:
    answers = [
        JudgedAnswer(recipe_id="r", question_id="body", language=language, priority=1, text=said, answer=None)
        for language, said in (("en", "sedan"), ("ko", "세단"))
    ]
    assert compose(answers, budget_of(name, folder(name)), language="ko").text == text


def test_what_is_no_tokenizer_of_the_model_is_refused(folder: Folder, tmp_path: Path) -> None:
    t5_tokenizer().save(str(tmp_path / "t5.json"))
    (tmp_path / "bad.json").write_text('{"version": "1.0"}', "utf-8")
    (tmp_path / "spiece.model").write_bytes(b"\x00\xff")
    (tmp_path / "empty").mkdir()
    t5, limited = tmp_path / "t5.json", f"{tmp_path / 't5.json'}:"
    for name, file, says in (
        ("z-image", folder("qwen-image"), "is not the tokenizer of Qwen3: it has no <think>. Fetch it: hf download"),
        ("umt5-512", t5, "is not the tokenizer of UMT5: it has no Hangul"),
        ("sana", tmp_path / "none.json", "There is no .*none.json. Name a tokenizer.json"),
        ("sana", tmp_path / "empty", r"holds no tokenizer.json. .*save_pretrained"),
        ("sana", tmp_path / "bad.json", "is no tokenizer.json that can be read"),
        ("sana", tmp_path / "spiece.model", "is no tokenizer.json that can be read"),
        ("clip", t5, "clip needs no tokenizer file: leave out --tokenizer"),
        (f"{limited}9", t5, "names its tokenizer itself"),
        (f"{limited}1", None, "leaves no room: 1 of the 1 tokens"),
        (str(t5), None, "says no limit: write FILE:LIMIT"),
        (f"{limited}many", None, "says no limit: write FILE:LIMIT"),
        (f"{tmp_path / 'none.json'}:9", None, "There is no .*none.json"),
        ("qwen-imag", None, "Did you mean qwen-image"),
        (":9", None, "There is no budget ':9'"),
        (f"{'x' * 5000}:9", None, "cannot be looked at"),
        ("~nobody-of-that-name/x.json:9", None, "cannot be looked at"),
        ("a\0b:9", None, "There is no a"),
    ):
        with pytest.raises(InputError, match=says):
            budget_of(name, file)


def carscribe(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "carscribe", *arguments],
        env={**os.environ, "HF_HOME": str(home), "HF_HUB_CACHE": str(home / "hub"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def test_the_cache_is_looked_into_and_else_it_is_said_what_to_fetch(folder: Folder, tmp_path: Path) -> None:
    asked = ("fit", "은색 세단, 검은 루프", "--budget", "z-image")
    done = carscribe(tmp_path, *asked)
    assert done.returncode == 1
    told = " ".join(done.stderr.split())
    assert "Fetch it: hf download Tongyi-MAI/Z-Image-Turbo tokenizer/tokenizer.json, or" in told
    assert "--tokenizer FILE" in told
    repository = tmp_path / "hub" / "models--Tongyi-MAI--Z-Image"
    kept = repository / "snapshots" / ("a" * 40) / "tokenizer"
    for path, content in (
        (repository / "refs" / "main", b"a" * 40),
        (kept / "tokenizer.json", (folder("z-image") / "tokenizer.json").read_bytes()),
    ):
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    found = carscribe(tmp_path, *asked)
    assert (found.returncode, found.stdout.strip()) == (0, "은색 세단, 검은 루프")
    count = budget_of("z-image", folder("z-image")).count("은색 세단, 검은 루프")
    assert f"{count} of 512 tokens" in found.stderr


def table() -> dict[str, list[str]]:
    """The cells of the guide's table, by budget."""
    rows = [line.strip("|").split("|") for line in DOCS.read_text("utf-8").splitlines() if line.startswith("| `")]
    return {row[0].strip(" `"): [cell.strip() for cell in row[1:]] for row in rows}


def test_the_guide_and_the_code_agree(folder: Folder) -> None:
    said = table()
    assert list(said) == [*BUDGETS, *READERS, "FILE:LIMIT"]
    for name in (*BUDGETS, *READERS):
        holds, room, encoder, *_ = said[name]
        budget: Budget = BUDGETS[name] if name in BUDGETS else budget_of(name, folder(name))
        assert holds == ("everything" if budget.limit is None else str(budget.limit)), name
        if name in READERS:
            assert encoder.startswith(READERS[name].encoder), name
        if name in BUDGETS and budget.limit is not None:
            assert room == str(budget.limit - budget.specials), name
        if name in {"sana", "hidream", "umt5-512"}:  # what these leave depends on the template alone
            assert budget.limit is not None
            assert room == str(budget.limit - budget.specials), name


def test_the_command_line_names_every_budget(tmp_path: Path) -> None:
    told = carscribe(tmp_path, "fit", "--help").stdout
    named = set(re.findall(r"[a-z0-9]+(?:-[a-z0-9]+)*", " ".join(told.replace("│", " ").split())))
    assert {*BUDGETS, *READERS} <= named


def test_qwen_s_own_tokenizer_takes_what_the_pipelines_say(qwen: Path, generate: Generate) -> None:
    from transformers import PreTrainedTokenizerFast

    theirs = PreTrainedTokenizerFast(tokenizer_file=str(qwen))
    start = 34  # prompt_template_encode_start_idx
    assert len(theirs(QWEN_IMAGE).input_ids) == start
    texts = [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in generate(500)]
    expected = [len(ids) - start for ids in theirs([QWEN_IMAGE + text + QWEN_TURN[1] for text in texts]).input_ids]
    for name in ("qwen-image", "qwen-image-1024"):
        budget = budget_of(name, qwen)
        assert [budget.count(text) for text in texts] == expected
        assert budget.limit is not None
        assert table()[name][1] == str(budget.limit - budget.specials)
    with pytest.raises(InputError, match="has no <think>"):
        budget_of("z-image", qwen)


def test_qwen3_s_turns_take_what_the_guide_says(qwen: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(qwen))  # Qwen3's words are Qwen2.5's, and these two marks more
    tokenizer.add_tokens([AddedToken(mark, normalized=False) for mark in ("<think>", "</think>")])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    for name in ("z-image", "flux2-klein"):
        budget = budget_of(name, tmp_path)
        assert budget.limit is not None
        assert table()[name][1] == str(budget.limit - budget.specials)
        assert budget.count(SAMPLES["en"]) == 20 + budget.specials


def test_what_korean_costs_qwen_is_what_the_guide_says(qwen: Path) -> None:
    encoder = budget_of(f"{qwen}:512").encoder
    assert encoder is not None
    assert (encoder.count(SAMPLES["ko"]), encoder.count(SAMPLES["en"])) == (39, 20)
    assert round(tokens_per_character(encoder, SAMPLES["ko"]), 1) == 1.3
    assert "takes 39 tokens, 1.3 a character" in DOCS.read_text("utf-8")
    assert [encoder.count_words(text) for text in SAMPLES.values()] == [20, 39]
