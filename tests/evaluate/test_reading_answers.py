"""What an answer states, by the shipped vocabulary; and what labels and crawled kinds mean by it."""

from pathlib import Path

import pytest

from carscribe.errors import InputError
from carscribe.evaluate.vocabulary import load_vocabulary, shipped_vocabulary
from carscribe.recipes.loading import load_recipe, shipped_recipes
from rendered.words import ATTRIBUTES_ASKED, vocabulary

OWN = Path(__file__).parents[2] / "demo" / "rendered" / "vocabulary.toml"


@pytest.mark.parametrize(
    ("text", "language", "values"),
    [
        ("Compact crossover SUV, raised stance", "en", {"suv"}),
        ("station wagon, estate", "en", {"wagon"}),
        ("four-door coupe with coupe roofline", "en", {"fastback"}),
        ("coupe-like roofline on a sedan", "en", {"sedan"}),
        ("SUV coupe, high stance", "en", {"suv"}),
        ("hatchback, power rear hatch", "en", {"hatchback"}),
        ("not a sedan but a wagon", "en", {"wagon"}),
        ("sedan or hatchback", "en", {"sedan", "hatchback"}),
        ("van-like minivan", "en", {"minivan"}),
        ("planted stance", "en", set()),
        ("소형 해치백, 낮은 스탠스", "ko", {"hatchback"}),
        ("쿠페형 SUV", "ko", {"suv"}),
        ("세단형 차체", "ko", {"sedan"}),
        ("쿠페 스타일 루프라인의 패스트백", "ko", {"fastback"}),
        ("세단이 아닌 왜건입니다", "ko", {"wagon"}),
        ("세단은 아닙니다", "ko", set()),
        ("미니밴으로 보이는 밴", "ko", {"minivan", "van"}),
    ],
)
def test_body_types_are_read(text: str, language: str, values: set[str]) -> None:
    assert shipped_vocabulary().attributes["body_type"].stated(text, language) == values


@pytest.mark.parametrize(
    ("text", "language", "values"),
    [
        ("Dark blue metallic paint, black roof, chrome trim", "en", {"blue"}),
        ("white body with black roof", "en", {"white"}),
        ("a white SUV with a roof painted black and red taillights", "en", {"white"}),
        ("matte black alloy multi-spoke wheels", "en", set()),
        ("roof in black", "en", set()),
        ("Silver hatchback with black-painted lower cladding", "en", {"silver"}),
        ("glossy black, tinted windows", "en", {"black"}),
        ("charcoal", "en", {"gray"}),
        ("red, black accents on roof and trim", "en", {"red"}),
        ("red and white", "en", {"red", "white"}),
        ("Body color: red; roof and trim: matte black", "en", {"red"}),
        ("silver-gray metallic", "en", {"gray"}),
        ("Red, black and silver wheels", "en", {"red"}),
        ("black and silver wheels", "en", set()),
        ("white with black and dark gray and silver alloy wheels", "en", {"white"}),
        ("a black and silver car", "en", {"black", "silver"}),
        ("red and black exterior, white and gray roof rails", "en", {"red", "black"}),
        ("the car is black and silver wheels add contrast", "en", {"black"}),
        ("red and piano black trim", "en", {"red"}),
        ("black paint and silver wheels", "en", {"black"}),
        ("차체 컬러: 흰색, 루프: 검은색", "ko", {"white"}),
        ("이 차는 흰색이며 루프가 검은색입니다.", "ko", {"white"}),
        ("검은색의 휠", "ko", set()),
        ("흰색 차체에 검은색 루프", "ko", {"white"}),
        ("루프는 검은색, 차체는 회색", "ko", {"gray"}),
        ("다크 블루 메탈릭, 블랙 하이그로시 트림", "ko", {"blue"}),
        ("검은색 사이드 미러", "ko", set()),
        ("빨간 차체, 블랙 휠", "ko", {"red"}),
        ("흰색 컬러와 블랙 루프", "ko", {"white"}),
    ],
)
def test_a_colour_counts_where_it_is_the_cars_and_no_parts(text: str, language: str, values: set[str]) -> None:
    assert shipped_vocabulary().attributes["main_colour"].stated(text, language) == values


def test_other_aspects_are_sets_of_terms() -> None:
    lighting = shipped_vocabulary().attributes["lighting"]
    assert lighting.several
    assert lighting.stated("split headlamps joined by a light bar", "en") == {"split_headlamp", "light_bar"}
    assert lighting.stated("분리형 헤드램프와 수평 라이트 바", "ko") == {"split_headlamp", "light_bar"}
    assert shipped_vocabulary().attributes["finish"].stated("metallic black, matte black wheels", "en") == {
        "metallic_paint"
    }
    assert shipped_vocabulary().attributes["finish"].stated("metallic paint and matte paint wheels", "en") == {
        "metallic_paint"
    }


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("세단", "sedan"),
        ("준중형 세단", "sedan"),
        ("해치백", "hatchback"),
        ("왜건", "wagon"),
        ("쿠페", "coupe"),
        ("컨버터블", "convertible"),
        ("로드스터", "convertible"),
        ("픽업", "pickup_truck"),
        ("픽업트럭", "pickup_truck"),
        ("밴", "van"),
        ("승합차", "van"),
        ("미니밴", "minivan"),
        ("MPV", "minivan"),
        ("SUV", "suv"),
        ("중형 SUV", "suv"),
        ("RV", "suv"),
        ("리무진", "limousine"),
        ("Sedan", "sedan"),
        ("5-door Hatchback", "hatchback"),
        ("Station Wagon", "wagon"),
        ("estate", "wagon"),
        ("Pickup", "pickup_truck"),
        ("pickup_truck", "pickup_truck"),
        ("\u1109\u1166\u1103\u1161\u11ab", "sedan"),
        ("화물", None),
        ("경차", None),
    ],
)
def test_crawled_kinds_of_both_languages_mean_one_list(kind: str, value: str | None) -> None:
    assert shipped_vocabulary().attributes["body_type"].value_of(kind) == value


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("dark blue", "blue"),
        ("very dark blue", "blue"),
        ("blue metallic", "blue"),
        ("회색", "gray"),
        ("진한 파란색", "blue"),
        ("white with black roof", "white"),
        ("white with orange FABIA lettering", "white"),
        ("burgundy", "red"),
        ("Copper", "brown"),
        ("turquoise", None),
    ],
)
def test_a_label_is_known_by_its_last_known_word(label: str, value: str | None) -> None:
    assert shipped_vocabulary().attributes["main_colour"].value_of(label) == value


def test_every_choice_of_the_shipped_recipes_is_a_value_of_its_attribute() -> None:
    shipped = shipped_vocabulary()
    for question in load_recipe("designer").questions:
        if question.choices:
            (attribute,) = shipped.stated_by("designer", question.id)
            for choices in question.choices.values():
                assert [attribute.value_of(choice) for choice in choices] == list(attribute.values)


def test_every_question_of_the_shipped_recipes_states_something() -> None:
    for name in shipped_recipes():
        for question in load_recipe(name).questions:
            assert shipped_vocabulary().stated_by(name, question.id), (name, question.id)


def test_the_demos_vocabulary_says_what_its_code_says() -> None:
    own = load_vocabulary(OWN)
    assert own.own
    for (recipe, question), names in ATTRIBUTES_ASKED.items():
        assert tuple(attribute.name for attribute in own.stated_by(recipe, question)) == names
    for (name, value, language), names in vocabulary().names.items():
        assert own.attributes[name].wordings[language].names[value] == names
    colour = own.attributes["main_colour"]
    assert colour.stated("metallic red paint, black roof, black wheels", "en") == {"red"}
    assert colour.value_of("빨간색") == "red"
    assert own.attributes["wheel"].stated("large black mesh wheels", "en") == {"mesh"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[colour", "is not TOML"),
        ('[colour]\nred = { en = "red" }', "colour"),
        ('[colour]\nred = { en = ["red"] }', r"\[questions\]"),
        ('[questions]\nq = ["hue"]\n[colour]\nred = { en = ["red"] }', r"there is no table \[hue\]"),
    ],
)
def test_a_vocabulary_with_a_mistake_is_refused_with_its_place(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(content, "utf-8")
    with pytest.raises(InputError, match=says):
        load_vocabulary(path)
    with pytest.raises(InputError, match="--vocabulary"):
        load_vocabulary(tmp_path / "nowhere.toml")
