"""Names that are one by another spelling, and those that are not, however near."""

import pytest

from carscribe.check.spelling import count_names, one_spelling, respelt

pytest.importorskip("rapidfuzz")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Hyundai IONIQ 5", "hyundai ioniq5"),
        ("Mercedes-Benz C-Class", "Mercedes Benz C Class"),
        ("Ｋｉａ Ｎｉｒｏ", "Kia Niro"),
        ("Citroën Berlingo", "Citroe\u0308n Berlingo"),
        ("Citroën Berlingo", "Citroen Berlingo"),
        ("현대 아이오닉5", "현대 아이오닉 5"),
        ("Volkswagen Tiguan", "Volkswagon Tiguan"),
        ("Kia Sportage", "Kia Sporatge"),
        ("기아 카니발", "기아 카니벌"),
    ],
)
def test_spellings_of_one_name_are_joined_the_commonest_first(one: str, other: str) -> None:
    assert respelt({other: 1, one: 5, "Toyota RAV4": 2}) == [(one, other)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Audi A4", "Audi A5"),
        ("BMW 3 Series 335i", "BMW 3 Series 340i"),
        ("Mercedes-Benz GLC", "Mercedes-Benz GLE"),
        ("Mercedes-Benz C-Class", "Mercedes-Benz E-Class"),
        ("Toyota Yaris", "Toyota Auris"),
        ("Volvo V60", "Volvo XC60"),
        ("Hyundai IONIQ 5", "현대 아이오닉 5"),
        ("쏘나타", "쏘렌토"),
    ],
)
def test_other_names_are_not(one: str, other: str) -> None:
    assert respelt({one: 1, other: 1}) == []


def test_many_names_are_compared_word_by_word() -> None:
    names = {f"Maker{chr(97 + i % 26)} Model {i}": 1 for i in range(5000)}
    assert respelt(names) == []


def test_names_without_a_letter_are_passed_over() -> None:
    assert respelt(count_names([None, " ", "?", "!", "Kia Niro", "Kia Niro"])) == []
    assert one_spelling("Škoda  Fabia") == one_spelling("SKODA-FABIA")
