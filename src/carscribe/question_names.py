"""What a question is called at the terminal and on pages. Pure."""

from collections.abc import Set


def question_name(recipe: str, question: str, asked: Set[tuple[str, str]]) -> str:
    """A question's id, with its recipe where another of the (recipe, question) that were `asked` has that id too.

    >>> asked = {("designer", "body"), ("mine", "body"), ("mine", "seats")}
    >>> question_name("mine", "body", asked), question_name("mine", "seats", asked)
    ('mine.body', 'seats')
    """
    is_alone = all(of == recipe for of, other in asked if other == question)
    return question if is_alone else f"{recipe}.{question}"
