"""Answers that are none are found, and good ones are left alone."""

import pytest

from carscribe.degenerate import degeneracy

GOOD = [
    ("SUV", "en"),
    ("black", "en"),
    ("compact SUV, raised stance", "en"),
    ("slim, slim headlamps, slim grille", "en"),
    ("long, long hood; short overhangs; long wheelbase", "en"),
    ("five-spoke wheels, five-spoke pattern, dark finish", "en"),
    ("lamps not visible from the side", "en"),
    ("The grille cannot be seen from this angle; the tailgate is plain.", "en"),
    ("I-shaped DRL, 19-inch wheels (5 × 114.3)", "en"),
    ("C-shaped taillamps <300 mm wide", "en"),
    ("body-color roof, 1,000,000 candela, A-A cut", "en"),
    ("soooo low", "en"),
    ("흰색", "ko"),
    ("측면에서 보이지 않는 램프", "ko"),
    ("램프는 측면에서 확인 불가", "ko"),
    ("낮고 넓은 스탠스, 낮은 루프라인", "ko"),
    ("5스포크 휠, 다이아몬드 커팅, 휠 아치 클래딩", "ko"),
    ("슬림한 헤드램프와 슬림한 테일램프를 잇는 수평 라이트 바", "ko"),
    ("정보창 주변의 블랙 하이그로시, 인공적인 면 처리", "ko"),
    ("사진에서는 후면만 보입니다.", "ko"),
]

BAD = [
    ("", "en", "empty"),
    (" \n\u200b", "ko", "empty"),
    ("...", "en", "only punctuation"),
    ("?!,", "ko", "only punctuation"),
    ("slimmmmmmm lamps", "en", "one character"),
    ("램프ㅋㅋㅋㅋㅋㅋ", "ko", "one character"),
    ("!!!!!!!!!!!! wow", "en", "one character"),
    ("the the the the", "en", "one word"),
    ("Grille, grille, grille, grille", "en", "one word"),
    ("휠 휠 휠 휠", "ko", "one word"),
    ("a low roof and a low roof and a low roof and", "en", "the same words"),
    ("slim lamps, wide grille, slim lamps, wide grille, slim lamps, wide grille", "en", "the same words"),
    ("sleek, red, sleek, blue, sleek", "en", "the same words"),
    ("그릴패턴그릴패턴그릴패턴그릴패턴", "ko", "the same words"),
    ("낮은 루프라인, 낮은 루프라인, 낮은 루프라인", "ko", "the same words"),
    ("I'm sorry, but I can't assist with that.", "en", "a refusal"),
    ("I’m unable to determine the color.", "en", "a refusal"),
    ("As an AI language model, I see a car.", "en", "a refusal"),
    ("Please provide an image of the car.", "en", "a refusal"),
    ("죄송합니다. 이 차의 색상을 알 수 없습니다.", "ko", "a refusal"),
    ("저는 AI 언어 모델로서 이미지를 볼 수 없습니다.", "ko", "a refusal"),
    ("이미지가 제공되지 않았습니다.", "ko", "a refusal"),
    ("I'm sorry, I cannot see it", "ko", "a refusal"),
    ("red SUV<|im_end|>", "en", "a special token"),
    ("</s> 빨간색", "ko", "a special token"),
    ("**Body:** SUV", "en", "markup"),
    ("### Body\nSUV", "en", "markup"),
    ("<b>SUV</b>", "en", "markup"),
    ('{"body": "SUV"}', "en", "markup"),
    ("assistant: red", "en", "markup"),
    ("빨간\ufffd색", "ko", "markup"),
]


@pytest.mark.parametrize(("text", "language"), GOOD)
def test_good_answers_are_left_alone(text: str, language: str) -> None:
    assert degeneracy(text, language) is None


@pytest.mark.parametrize(("text", "language", "why"), BAD)
def test_degenerate_answers_are_told_why(text: str, language: str, why: str) -> None:
    assert (degeneracy(text, language) or "").startswith(why)


@pytest.mark.parametrize(
    ("text", "finish", "why"),
    [
        ("a long hood and a", "length", "cut off in the middle"),
        ("긴 후드와 짧은", "length", "cut off in the middle"),
        ("A long hood.", "length", None),
        ("긴 후드입니다.", "length", None),
        ("a long hood", "stop", None),
    ],
)
def test_an_answer_that_was_stopped_is_cut_unless_its_sentence_ended(text: str, finish: str, why: str | None) -> None:
    assert degeneracy(text, "en", finish=finish) == why  # type: ignore[arg-type]
