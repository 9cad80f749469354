"""CSS and XPath of a site's description: what they take from a page, as text, as addresses, as elements."""

from collections.abc import Iterator
from functools import lru_cache

from cssselect import SelectorError
from lxml import etree
from parsel import Selector
from parsel.csstranslator import HTMLTranslator

_IS_XPATH = ("/", "./", "(", "../")


@lru_cache(maxsize=256)
def as_xpath(rule: str) -> str:
    """A rule as XPath. What begins with `/`, `./`, `../` or `(` is XPath already, all else is CSS.

    >>> as_xpath("h1 a::attr(href)")
    'descendant-or-self::h1/descendant::a/@href'

    Raises: ValueError, saying what is wrong with it.
    """
    rule = rule.strip()
    if not rule:
        raise ValueError("it is empty")
    xpath = rule
    if not rule.startswith(_IS_XPATH):
        try:
            xpath = HTMLTranslator().css_to_xpath(rule)
        except (SelectorError, ValueError) as failure:
            raise ValueError(f"as CSS: {failure}") from None
    try:
        etree.XPath(xpath, namespaces={"re": "http://exslt.org/regular-expressions"})
    except etree.XPathSyntaxError as failure:
        raise ValueError(f"as XPath: {failure}") from None
    return xpath


def select(scope: Selector, rule: str) -> list[Selector]:
    """What a rule finds in a page or in a part of one; nothing where it asks for a function that there is not."""
    try:
        return list(scope.xpath(as_xpath(rule)))
    except ValueError:  # parsel's, for XPath that is right in form alone
        return []


def text_of(found: Selector) -> str:
    """A found value as one line: an element's text, of `<meta>` its content.

    >>> [text_of(each) for each in select(Selector("<p>Kia <b> Niro</b></p><meta content='SUV'>"), "p, meta")]
    ['Kia Niro', 'SUV']
    """
    if isinstance(found.root, str):
        return " ".join(found.root.split())
    if not isinstance(found.root, etree._Element):
        return " ".join(str(found.root).split())  # an XPath that counts or compares
    if found.root.tag == "meta":
        return " ".join((found.root.get("content") or "").split())
    return " ".join("".join(_spoken(found.root)).split())


def first_text(scope: Selector, rules: tuple[str, ...]) -> str | None:
    """The first text that is none too short to say something, by the first rule that gives one."""
    return next(all_texts(scope, rules), None)


def all_texts(scope: Selector, rules: tuple[str, ...]) -> Iterator[str]:
    """Every text of the first rule that gives any."""
    for rule in rules:
        texts = [text for found in select(scope, rule) if (text := text_of(found))]
        if texts:
            yield from dict.fromkeys(texts)
            return


def addresses(scope: Selector, rule: str) -> Iterator[str]:
    """The addresses that a rule finds: of an element its href, or those of the links in it; of a text the text."""
    for found in select(scope, rule):
        if isinstance(found.root, str):
            yield found.root.strip()
        elif isinstance(found.root, etree._Element):
            links = [found.root] if found.root.get("href") else found.root.iter("a", "area")
            yield from (link.get("href").strip() for link in links if link.get("href"))


def _spoken(element: etree._Element) -> Iterator[str]:
    """The texts of an element, those of scripts and styles left out; a line break parts words."""
    for node in element.iter():
        if node.tag in {"script", "style"} or not isinstance(node.tag, str):
            pass
        elif node.tag == "br":
            yield " "
        elif node.text:
            yield node.text
        if node is not element and node.tail:
            yield node.tail
