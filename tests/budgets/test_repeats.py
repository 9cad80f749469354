"""What counts as said already, and what takes the place of something shorter."""

import unicodedata

import pytest

from carscribe.budgets.repeats import is_said, says_more, wording_of


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ("SUV", "compact SUV"),
        ("a compact suv", "Compact SUV."),
        ("ＳＵＶ", "SUV"),
        (unicodedata.normalize("NFD", "은색 세단"), "은색 세단"),
        ("SUV", "compact SUV with black roof"),
        ("black roof", "compact SUV with black roof"),
        ("red", "metallic red paint"),
        ("white", "white exterior"),
        ("빨간색", "빨간색 차체"),
        ("slim LED headlamps", "slim LED headlamps, very low"),
        ("large grille", "The car has a large grille."),
        ("🚗", "🚗"),
    ],
)
def test_it_is_said_already(new: str, said: str) -> None:
    assert is_said(wording_of(new), wording_of(said))


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ("compact SUV", "SUV"),
        ("black", "black roof"),
        ("black", "roof in black"),
        ("black", "The roof is black."),
        ("red", "red brake calipers"),
        ("black", "black and white wheels"),
        ("red", "infrared lamps"),
        ("coupe", "coupe-like roofline"),
        ("visible grille", "no visible grille"),
        ("grille", "without any grille"),
        ("roof black", "black roof"),
        ("red", "long narrow side marker in red"),
        ("🚗", "red"),
        ("🚗", "🚙"),
        ("+🚗", "red (sporty)"),
    ],
)
def test_it_is_not_said_yet(new: str, said: str) -> None:
    assert not is_said(wording_of(new), wording_of(said))


@pytest.mark.parametrize(
    ("new", "said", "more"),
    [
        ("metallic red paint", "red", True),
        ("deep metallic red", "red", True),
        ("compact SUV with black roof", "SUV", True),
        ("빨간색 차체", "빨간색", True),
        ("컴팩트 SUV", "SUV", True),
        ("red brake calipers", "red", False),
        ("white roof", "white", False),
        ("sedan with roof in red", "red", False),
        ("big round tail lamps red", "red", False),
        ("not an SUV", "SUV", False),
        ("gloss black roof rails", "black roof", False),
        ("🚗 red", "🚗", False),
    ],
)
def test_only_what_says_more_of_the_same_takes_its_place(new: str, said: str, more: bool) -> None:
    assert says_more(wording_of(new), wording_of(said)) is more
