"""Recipes load as written, and a recipe that does not says in which line why, and what to do."""

import tomllib
from pathlib import Path

import pytest

from carscribe.errors import RecipeError
from carscribe.recipes.loading import load_recipe, shipped_recipes
from carscribe.recipes.toml_lines import TomlLines

GOOD = """\
id = "mine"
version = 2
languages = ["en", "ko"]

[[questions]]
id = "body_type"
priority = 10
choices.en = ["sedan", "SUV"]
choices.ko = ["세단", "SUV"]
text.en = "Which body type?"
text.ko = "차체 형식은?"

[[questions]]
id = "grille"
priority = 50
max_new_tokens = 40
text.en = "Describe the grille of this {kind}, {{briefly}}."
text.ko = "그릴을 적으세요."
"""


def write(folder: Path, text: str | bytes, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def problems_of(path: Path) -> list[str]:
    """The lines of the error, without the file's name: `LINE: message`."""
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    lines = str(caught.value).split("\n")
    assert all(line.startswith(f"{path}:") for line in lines)
    return [line.removeprefix(f"{path}:") for line in lines]


def test_a_recipe_loads_as_written(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, GOOD))
    assert (recipe.id, recipe.version, recipe.languages) == ("mine", 2, ("en", "ko"))
    choice, grille = recipe.questions
    assert choice.choices == {"en": ("sedan", "SUV"), "ko": ("세단", "SUV")}
    assert choice.max_new_tokens == 0, "a choice question generates nothing"
    assert (grille.priority, grille.max_new_tokens, grille.choices) == (50, 40, {})
    assert grille.text["en"] == "Describe the grille of this {kind}, {{briefly}}.", "braces are rendering's work"


def test_a_path_may_be_text_and_the_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = write(tmp_path, b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load_recipe(str(path)) == load_recipe(write(tmp_path, GOOD, "plain.toml"))


def test_sub_tables_and_inline_tables_say_the_same_as_dotted_keys(tmp_path: Path) -> None:
    dotted = 'text.en = "Which body type?"\ntext.ko = "차체 형식은?"\n'
    assert dotted in GOOD
    sub_table = GOOD.replace(dotted, '[questions.text]\nen = "Which body type?"\nko = "차체 형식은?"\n')
    inline = GOOD.replace(dotted, 'text = { en = "Which body type?", ko = "차체 형식은?" }\n')
    expected = load_recipe(write(tmp_path, GOOD))
    assert load_recipe(write(tmp_path, sub_table)) == expected
    assert load_recipe(write(tmp_path, inline)) == expected


# what is wrong, text of GOOD, what stands there instead, line of the problem, words the message must hold
ONE_MISTAKE = [
    ("misspelt key", "priority = 50", "prioritty = 50", 15, ["prioritty", "Did you mean priority?"]),
    ("misspelt top key", "version = 2", "verson = 2", 2, ["verson", "Did you mean version?"]),
    ("foreign key", "priority = 50", "priority = 50\nweight = 3", 16, ["weight", "Known here: id, priority, text"]),
    ("key left out", "priority = 50\n", "", 13, ["priority is missing", "priority = 10"]),
    ("id left out", 'id = "mine"\n', "", 1, ["id is missing", 'id = "grille"']),
    ("language missing", 'text.ko = "그릴을 적으세요."\n', "", 17, ['"grille"', "text.ko", "Add it"]),
    ("choices miss a language", 'choices.ko = ["세단", "SUV"]\n', "", 8, ["choices.ko", "Add it"]),
    ("undeclared", 'text.ko = "차체', 'text.fr = "?"\ntext.ko = "차체', 11, ["text.fr", "en, ko", "Declare"]),
    ("id used twice", 'id = "grille"', 'id = "body_type"', 14, ['"body_type"', "question 1", "another"]),
    ("id with capitals", 'id = "grille"', 'id = "Front grille"', 14, ['"Front grille"', "lower-case"]),
    ("recipe id with a space", 'id = "mine"', 'id = "my own"', 1, ['"my own"', "lower-case"]),
    ("leading white space", '"Which body', '" Which body', 10, ["text.en", "begins with white space", "Remove"]),
    ("trailing white space", 'type?"', 'type? "', 10, ["text.en", "ends with white space", "Remove"]),
    ("white space in a choice", '"sedan", ', '"sedan ", ', 8, ["choices.en", "ends with white space"]),
    ("empty text", '"그릴을 적으세요."', '"  "', 18, ["text.ko", "empty", "Write it out"]),
    ("empty choice", '"sedan", ', '"", ', 8, ["choices.en", "empty"]),
    ("duplicate choice", '["sedan", "SUV"]', '["suv", "SUV"]', 8, ['"SUV"', "twice", "Remove one"]),
    ("choice with a line break", '"sedan"', '"se\\ndan"', 8, ["line break", "one line"]),
    ("placeholder in a choice", '"sedan"', '"{kind}"', 8, ['"{kind}"', "no placeholder"]),
    ("lists of unequal length", '["세단", "SUV"]', '["세단", "SUV", "밴"]', 9, ["length 3", "2", "same order"]),
    ("misspelt placeholder", "{kind}", "{knid}", 17, ["{knid}", "did you mean {kind}?"]),
    ("far-off placeholder", "{kind}", "{mileage}", 17, ["{mileage}", "only {name} and {kind}"]),
    ("attribute access", "{kind}", "{kind.__class__}", 17, ["{kind.__class__} is no placeholder"]),
    ("lone brace", "{kind}", "kind}", 17, ["single }", "write }}"]),
    ("too many tokens", "= 40", "= 2049", 16, ["2049", "1 to 2048"]),
    ("too few tokens", "= 40", "= 0", 16, ["max_new_tokens is 0", "1 to 2048"]),
    ("neither kind of question", "max_new_tokens = 40\n", "", 13, ["neither", "Add max_new_tokens = 40"]),
    ("both kinds of question", "priority = 10", "priority = 10\nmax_new_tokens = 4", 8, ["Remove one"]),
    ("number in quotes", "priority = 50", 'priority = "50"', 15, ["priority is a string", "a whole number"]),
    ("fraction", "priority = 50", "priority = 5.5", 15, ["number with a point", "a whole number"]),
    ("truth value", "version = 2", "version = true", 2, ["true or false", "version = 1"]),
    ("version zero", "version = 2", "version = 0", 2, ["version is 0", "1 or more"]),
    ("number as a choice", '["sedan", "SUV"]', '[\n"sedan", 3]', 9, ["number 2 of choices.en", "in quotes"]),
    ("language code too long", '["en", "ko"]', '["en", "ko", "en-US"]', 3, ['"en-US"', "such as en or ko"]),
    ("language declared twice", '["en", "ko"]', '["en", "ko", "ko"]', 3, ['"ko"', "twice"]),
    ("one table, not several", '[[questions]]\nid = "grille"', '[question]\nid = "grille"', 13, ["mean questions?"]),
    ("bad TOML", "priority = 50", "priority = ", 15, ["not TOML", "Check quotes"]),
    ("key twice", "priority = 50", "priority = 50\npriority = 51", 16, ["not TOML", "remove one"]),
    ("string left open", '적으세요."', '적으세요.', 18, ["not TOML"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("right", "wrong", "line", "words"),
    [pytest.param(*row[1:], id=row[0]) for row in ONE_MISTAKE],
)
def test_a_mistake_is_named_with_its_line_and_a_remedy(
    tmp_path: Path, right: str, wrong: str, line: int, words: list[str]
) -> None:
    assert GOOD.count(right) >= 1
    (problem,) = problems_of(write(tmp_path, GOOD.replace(right, wrong, 1)))
    assert problem.startswith(f"{line}: ")
    assert [word for word in words if word not in problem] == []


def test_a_choice_list_of_one_is_no_choice(tmp_path: Path) -> None:
    text = GOOD.replace('["sedan", "SUV"]', '["sedan"]').replace('["세단", "SUV"]', '["세단"]')
    english, korean = problems_of(write(tmp_path, text))
    assert english.startswith("8: ")
    assert "choices.en holds 1 of at least 2" in english
    assert korean.startswith("9: ")


@pytest.mark.parametrize(
    ("wrong", "line", "words"),
    [
        ('text = "Which?"', 10, ["text is a string", "text.en ="]),
        ('text.en = "a"\ntext.ko = "b"\nchoices = ["a", "b"]', 12, ["choices is an array", "choices.en ="]),
    ],
)
def test_text_and_choices_need_a_language(tmp_path: Path, wrong: str, line: int, words: list[str]) -> None:
    head = 'id = "mine"\nversion = 1\nlanguages = [\n  "en",\n  "ko",\n]\n[[questions]]\nid = "a"\npriority = 1\n'
    tail = "" if "choices" in wrong else "\nmax_new_tokens = 9"
    (problem,) = problems_of(write(tmp_path, head + wrong + tail))
    assert problem.startswith(f"{line}: ")
    assert [word for word in words if word not in problem] == []


def test_every_problem_is_reported_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = (
        GOOD.replace("version = 2", "version = 0")
        .replace("priority = 10", "prioritty = 10")
        .replace('"Which body', '" Which {nmae}')
        .replace("= 40", "= 9999")
        .replace('text.ko = "그릴을 적으세요."', 'text.jp = "?"')
    )
    found = problems_of(write(tmp_path, text))
    assert [int(problem.split(":")[0]) for problem in found] == [2, 7, 10, 10, 16, 17, 18]


def test_a_problem_inside_a_long_string_or_list_gets_its_own_line(tmp_path: Path) -> None:
    text = GOOD.replace(
        'text.ko = "그릴을 적으세요."', 'text.ko = """\n이 {kind}의 # 그릴을\n[적으]세요 {nmae}.\n"""  # {nmae}'
    ).replace('["세단", "SUV"]', '[\n  "세단", # "a"\n  " SUV",\n]')
    choice, edge, placeholder = problems_of(write(tmp_path, text))
    assert choice.startswith("11: ")
    assert edge.startswith("21: ")
    assert "Close the quotes right after the last word" in edge
    assert placeholder.startswith("23: ")


def test_an_empty_file_says_what_it_lacks(tmp_path: Path) -> None:
    found = problems_of(write(tmp_path, ""))
    lacking = [problem.split(" is missing")[0] for problem in found]
    assert lacking == ["1: id", "1: version", "1: languages", "1: questions"]


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (GOOD.encode("cp949"), 9, "Save the file as UTF-8"),
        (b"x = " + b"1" * 5000, 1, "not TOML"),
        (b"x = " + b"[" * 9000 + b"]" * 9000, 1, "not TOML"),
        (b'id = "a"\nversion = 1\nlanguages = []\nquestions = []', 3, "no language is declared"),
    ],
    ids=["another encoding", "huge number", "deep nesting", "nothing declared"],
)
def test_content_nobody_meant_is_an_error_with_a_line(tmp_path: Path, content: bytes, line: int, words: str) -> None:
    first = problems_of(write(tmp_path, content))[0]
    assert first.startswith(f"{line}: ")
    assert words in first


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("desinger", ['"desinger"', "Did you mean designer?", "brief, designer, detailed"]),
        ("poetry", ['"poetry"', "brief, designer, detailed", ".toml"]),
        ("glossary", ['"glossary"', "brief, designer, detailed"]),
        ("", ["brief, designer, detailed"]),
        ("brief.toml", ["no recipe file brief.toml", "shipped recipe is called brief"]),
        ("no/such/file.toml", ["no recipe file no/such/file.toml", "Check the path"]),
        ("a\0/b", ["cannot be read", "Check the path"]),
    ],
)
def test_a_recipe_that_is_not_there_says_what_is(name: str, words: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(name)
    assert [word for word in words if word not in str(caught.value)] == []


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="is a folder"):
        load_recipe(tmp_path)


def test_a_file_named_without_a_separator_gets_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, GOOD, "own")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match=r"write \./own"):
        load_recipe("own")
    assert load_recipe("./own").id == "mine"


def test_shipped_names_load() -> None:
    assert [load_recipe(name).id for name in shipped_recipes()] == ["brief", "designer", "detailed"]


TOML_FORMS = """\
# a comment = "with [brackets"
when = 1979-05-27 07:32:00 # a date with a space
"quoted key".'other one' = 1
many = ["a, ]", # ]
  [1, 2],
  \"\"\"
  "" ] \"\"\"\"\", { x = 1, y.z = 'it]' },
]
[a.b]
c = QQQ
[not.a.header]
QQQ
[[a.list]]
d = "\\""
[[a.list.inner]]
e = 1
[[a.list]]
[a.list.f]
g = 1.5""".replace("QQQ", "'" * 3)


@pytest.mark.parametrize(
    ("location", "line"),
    [
        (("when",), 2),
        (("quoted key", "other one"), 3),
        (("many",), 4),
        (("many", 0), 4),
        (("many", 1, 1), 5),
        (("many", 2), 6),
        (("many", 3, "y", "z"), 7),
        (("a", "b", "c"), 10),
        (("a", "list", 0, "d"), 14),
        (("a", "list", 0, "inner", 0, "e"), 16),
        (("a", "list", 1, "f", "g"), 19),
        (("a", "list", 1, "nothing"), 17),
        (("nothing",), 1),
    ],
)
def test_every_form_of_toml_has_its_line(location: tuple[str | int, ...], line: int) -> None:
    tomllib.loads(TOML_FORMS)
    assert TomlLines(TOML_FORMS).line_of(location) == line
