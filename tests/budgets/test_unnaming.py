"""A car's name taken out of captions: what is left reads well, and nothing else goes."""

import pytest

from carscribe.budgets.phrases import Phrase
from carscribe.budgets.spellings import in_latin
from carscribe.budgets.unnaming import unnaming

NIRO, IONIQ, A4, PORSCHE, SOUL = "기아 니로", "Hyundai IONIQ 5", "Audi A4", "Porsche 911", "Kia Soul"
TESLA, BENZ, BMW = "Tesla Model 3", "메르세데스-벤츠 S클래스", "BMW 3 Series"


@pytest.mark.parametrize(
    ("name", "text", "left"),
    [
        # nothing but the name
        (NIRO, "Kia Niro", None),
        (NIRO, "NIRO", None),
        (NIRO, "This is a Kia Niro.", None),
        (NIRO, "이 차는 기아 니로입니다.", None),
        (NIRO, "typical of Kia", None),
        (NIRO, "Kia Niro (2022)", None),
        # before a noun it goes, with its particle or ending
        (NIRO, "기아 니로의 전면 그릴", "전면 그릴"),
        (NIRO, "기아니로의 램프", "램프"),
        (NIRO, "기아차의 전면", "전면"),
        (NIRO, "기아다운 그릴", "그릴"),
        (NIRO, "니로 특유의 C필러", "특유의 C필러"),
        (NIRO, "Kia's tiger-nose grille", "tiger-nose grille"),
        (NIRO, "Kia-like grille", "grille"),
        (NIRO, "signature Kia lamps", "signature lamps"),
        (A4, "an Audi grille", "a grille"),
        (BENZ, "S-Class grille", "grille"),
        (BENZ, "Benz star", "star"),
        # the marque alone inside a phrase, in either script
        (NIRO, "기아 로고", "로고"),
        (IONIQ, "현대차 엠블럼", "엠블럼"),
        (PORSCHE, "포르쉐 911의 후면", "후면"),
        # in place of the car itself
        (
            NIRO,
            "The Kia Niro has slim lamps, giving it a sharp look.",
            "The car has slim lamps, giving it a sharp look.",
        ),
        (NIRO, "기아 니로는 넓은 그릴을 가진다.", "차량은 넓은 그릴을 가진다."),
        (NIRO, "니로가 강렬하다", "차량이 강렬하다"),
        (NIRO, "red Kia Niro", "red car"),
        (NIRO, "빨간 기아 니로", "빨간 차량"),
        (NIRO, "compact SUV Kia Niro", "compact SUV"),
        (NIRO, "the front of the Kia Niro", "the front"),
        # spelt otherwise
        (IONIQ, "Ioniq5 pixel lamps", "pixel lamps"),
        (IONIQ, "아이오닉 5의 픽셀 램프", "픽셀 램프"),
        (IONIQ, "IONIQ-5", None),
        (A4, "A4's grille", "grille"),
        (TESLA, "Model 3's flush handles", "flush handles"),
        ("Citroën C3", "CITROEN bumpers", "bumpers"),
        ("Škoda Octavia", "스코다 그릴", "그릴"),
        # what only looks like a name
        (NIRO, "compact SUV, upright", "compact SUV, upright"),
        (NIRO, "모니로 시계", "모니로 시계"),
        (IONIQ, "5 spokes", "5 spokes"),
        (IONIQ, "현대적인 디자인", "현대적인 디자인"),
        (A4, "a 4-door sedan", "a 4-door sedan"),
        (A4, "Audi A4 sedan", "sedan"),
        (SOUL, "soul of the design", "soul of the design"),
        (SOUL, "boxy Soul body", "boxy body"),
        (TESLA, "a model with 3 lamps", "a model with 3 lamps"),
        (BENZ, "long hood class", "long hood class"),
        (BMW, "3 lamps", "3 lamps"),
        (BMW, "3 Series sedan", "sedan"),
        ("", "compact SUV", "compact SUV"),
        ("???", "compact SUV", "compact SUV"),
    ],
)
def test_names_go_and_the_rest_stays(name: str, text: str, left: str | None) -> None:
    assert unnaming((name,)).text(text) == left


def test_a_long_sentence_loses_the_name_in_its_shorter_forms_too() -> None:
    sentence = "The Kia Niro has slim lamps, giving it a sharp look."
    phrase = unnaming((NIRO,)).phrase(Phrase(text=sentence, shorter=("The Kia Niro has slim lamps",)))
    assert phrase is not None
    assert phrase.shorter == ("The car has slim lamps",)


def test_in_other_languages_the_name_is_cut_out_and_nothing_put_there() -> None:
    assert unnaming((NIRO,)).text("Front des Kia Niro in Rot", language="de") == "Front des in Rot"
    assert unnaming((NIRO,)).text("schmale Kia Scheinwerfer", language="de") == "schmale Scheinwerfer"


def test_a_phrase_without_a_name_is_the_same_object() -> None:
    phrase = Phrase(text="slim lamps")
    assert unnaming((NIRO,)).phrase(phrase) is phrase


@pytest.mark.parametrize(
    ("name", "latin"),
    [
        (NIRO, "Kia Niro"),
        ("현대 아이오닉5", "Hyundai Ioniq 5"),
        ("기아 K5", "Kia K5"),
        ("현대 포니", None),
        ("Kia", "Kia"),
    ],
)
def test_korean_names_have_their_usual_other_spelling_or_none(name: str, latin: str | None) -> None:
    assert in_latin(name) == latin
