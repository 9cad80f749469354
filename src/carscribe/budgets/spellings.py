"""How marques and models are spelt in Korean and English, so that one name's other spelling is known for the same car.

A set of photographs names its cars in one script and a model describes them in the other. Models are those sold most
in Korea; of any other car the marque is known in both scripts, and the model as its metadata spells it.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

SPELLINGS: tuple[tuple[str, ...], ...] = (
    ("Abarth", "아바쓰"), ("Alfa Romeo", "알파 로메오", "알파로메오"), ("Alpine", "알핀"),
    ("Aston Martin", "애스턴 마틴", "애스턴마틴"), ("Audi", "아우디"), ("Bentley", "벤틀리"), ("BMW", "비엠더블유"),
    ("Bugatti", "부가티"), ("BYD", "비야디"), ("Cadillac", "캐딜락"), ("Chevrolet", "Chevy", "쉐보레"),
    ("Chrysler", "크라이슬러"), ("Citroën", "시트로엥"), ("Cupra", "쿠프라"), ("Dacia", "다치아"), ("Daewoo", "대우"),
    ("Dodge", "닷지"), ("Ferrari", "페라리"), ("Fiat", "피아트"), ("Ford", "포드"), ("Genesis", "제네시스"),
    ("GMC", "지엠씨"), ("Honda", "혼다"), ("Hummer", "허머"), ("Hyundai", "현대"), ("Infiniti", "인피니티"),
    ("Isuzu", "이스즈"), ("Jaguar", "재규어"), ("Jeep", "지프"), ("KGM", "KG Mobility", "KG 모빌리티", "KG모빌리티"),
    ("Kia", "기아"), ("Koenigsegg", "코닉세그"), ("Lamborghini", "람보르기니"), ("Lancia", "란치아"),
    ("Land Rover", "랜드로버", "랜드 로버"), ("Range Rover", "레인지로버", "레인지 로버"), ("Lexus", "렉서스"),
    ("Lincoln", "링컨"), ("Lotus", "로터스"), ("Lucid", "루시드"), ("Maserati", "마세라티"), ("Maybach", "마이바흐"),
    ("Mazda", "마쓰다"), ("McLaren", "맥라렌"),
    ("Mercedes-Benz", "Mercedes", "Benz", "메르세데스-벤츠", "메르세데스벤츠", "메르세데스", "벤츠"),
    ("Mini", "미니"), ("Mitsubishi", "미쓰비시"), ("Nissan", "닛산"), ("Opel", "오펠"), ("Peugeot", "푸조"),
    ("Polestar", "폴스타"), ("Porsche", "포르쉐", "포르셰"), ("Renault", "르노"), ("Rivian", "리비안"),
    ("Rolls-Royce", "롤스로이스"), ("Saab", "사브"), ("Samsung", "삼성"), ("Seat", "세아트"), ("Skoda", "스코다"),
    ("Smart", "스마트"), ("SsangYong", "쌍용"), ("Subaru", "스바루"), ("Suzuki", "스즈키"), ("Tesla", "테슬라"),
    ("Toyota", "도요타", "토요타"), ("Volkswagen", "VW", "폭스바겐", "폴크스바겐"), ("Volvo", "볼보"),
    ("Actyon", "액티언"), ("Avante", "Elantra", "아반떼"), ("Carnival", "Sedona", "카니발"), ("Casper", "캐스퍼"),
    ("Equus", "에쿠스"), ("Grandeur", "Azera", "그랜저"), ("Ioniq", "아이오닉"), ("Kona", "코나"),
    ("Korando", "코란도"), ("Malibu", "말리부"), ("Mohave", "모하비"), ("Morning", "Picanto", "모닝"),
    ("Nexo", "넥쏘"), ("Niro", "니로"), ("Palisade", "팰리세이드"), ("Ray", "레이"), ("Rexton", "렉스턴"),
    ("Santa Fe", "싼타페", "산타페"), ("Seltos", "셀토스"), ("Sonata", "쏘나타", "소나타"), ("Sorento", "쏘렌토"),
    ("Soul", "쏘울"), ("Sportage", "스포티지"), ("Staria", "스타리아"), ("Starex", "스타렉스"), ("Stinger", "스팅어"),
    ("Tivoli", "티볼리"), ("Torres", "토레스"), ("Trailblazer", "트레일블레이저"), ("Trax", "트랙스"),
    ("Class", "클래스"), ("Model", "모델"), ("Series", "시리즈"),
    ("Tucson", "투싼"), ("Veloster", "벨로스터"), ("Venue", "베뉴"),
)  # fmt: skip
"""Each line one marque or model; its first spelling in each script is the usual one."""

TOKEN = re.compile(r"\d+|[\uac00-\ud7a3]+|[^\W\d_\uac00-\ud7a3]+")
"""Digits, Hangul, or other letters: "K5의" is three."""

HANGUL = re.compile(r"[\uac00-\ud7a3]")


def folded(word: str) -> str:
    """A word without case, width and accents; Hangul as it is, composed.

    >>> folded("Citroën"), folded("ＢＭＷ"), folded("기아")
    ('citroen', 'bmw', '기아')
    """
    plain = unicodedata.normalize("NFKD", word.casefold())
    return unicodedata.normalize("NFC", "".join(letter for letter in plain if not unicodedata.combining(letter)))


def tokens_of(name: str) -> tuple[str, ...]:
    """The words and numbers of a name, folded.

    >>> tokens_of("IONIQ 5"), tokens_of("기아 K5")
    (('ioniq', '5'), ('기아', 'k', '5'))
    """
    return tuple(folded(token) for token in TOKEN.findall(unicodedata.normalize("NFC", name)))


@lru_cache(maxsize=4096)
def other_spellings(name: str) -> tuple[tuple[str, ...], ...]:
    """The same name spelt otherwise, as tokens: every other spelling of a part alone, and the whole with one in place.

    >>> other_spellings("기아 니로")
    (('kia',), ('kia', '니로'), ('niro',), ('기아', 'niro'))
    """
    return tuple(dict.fromkeys(_others(tokens_of(name))))


def _others(tokens: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for start in range(len(tokens)):
        for group in _by_first().get(tokens[start], ()):
            for own in group:
                if tokens[start : start + len(own)] == own:
                    for other in group:
                        if other != own:
                            yield other
                            if len(tokens) > len(own):
                                yield (*tokens[:start], *other, *tokens[start + len(own) :])


@lru_cache(maxsize=1)
def _by_first() -> dict[str, list[list[tuple[str, ...]]]]:
    """Lines of `SPELLINGS` as tokens, by the first token of any of their spellings."""
    found: dict[str, list[list[tuple[str, ...]]]] = {}
    for line in SPELLINGS:
        group = [tokens_of(spelling) for spelling in line]
        for first in {tokens[0] for tokens in group}:
            found.setdefault(first, []).append(group)
    return found


def in_latin(name: str) -> str | None:
    """A name with its Korean parts in their usual other spelling; None where one is not known.

    >>> in_latin("현대 아이오닉 5"), in_latin("Kia K5"), in_latin("현대 포니")
    ('Hyundai Ioniq 5', 'Kia K5', None)
    """
    words = []
    for word in unicodedata.normalize("NFC", name).split():
        if not HANGUL.search(word):
            words.append(word)
            continue
        tokens = tokens_of(word)
        spelt = [_latin(token) if HANGUL.match(token) else token.upper() for token in tokens]
        if None in spelt:
            return None
        words.append(" ".join(part for part in spelt if part))
    return " ".join(words)


def _latin(token: str) -> str | None:
    return next((line[0] for line in SPELLINGS if any(tokens_of(spelling) == (token,) for spelling in line)), None)
