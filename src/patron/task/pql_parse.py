"""The text of a query becomes a tree by `pql.lark`; whatever is wrong with it is shown where it stands."""

import difflib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from lark import Lark, Token, Tree, UnexpectedCharacters, UnexpectedToken

WORDS = {
    "FOR": "FOR EACH customers.customer_id (or FOR customer, after a named target)",
    "COMPARE": "a comparison (= != < <= > >=)", "PLUS": "+", "MINUS": "-", "STAR": "*", "DIVIDE": "/",
    "NUMBER": "a number", "NAME": "a name", "TEXT": "a text in quotes", "LPAR": "(", "RPAR": ")", "COMMA": "a comma",
    "DOT": "a dot and a column, as in orders.order_date", "$END": "the end of the query",
}  # fmt: skip


class PQLError(ValueError):
    """What is wrong with a query, then the line in question with a caret under the place."""

    def __init__(self, text: str, at: int, message: str) -> None:
        at = min(at, len(text))
        start = text.rfind("\n", 0, at) + 1
        line = text[start:].partition("\n")[0].replace("\t", " ")
        super().__init__(f"{message}\n    {line}\n    {' ' * (at - start)}^")


def parse(text: str) -> Tree:
    """The tree of a query. Raises PQLError for what is no query."""
    if not text.strip():
        raise PQLError(text, 0, "the query is empty; write PREDICT ... FOR EACH customers.customer_id")
    try:
        return _parser().parse(text)
    except UnexpectedToken as error:
        ended = error.token.type == "$END"
        found = "the query ends here" if ended else f"'{error.token}' has no place here"
        at = len(text.rstrip()) if ended else start_of(error.token)
        raise PQLError(text, at, f"{found}; {_expected(error.accepts or error.expected)}") from None
    except UnexpectedCharacters as error:
        at = error.pos_in_stream or 0
        found = text[at]
        what = "the text is not closed" if found in "'\"" else f"'{found}' has no place in a query"
        raise PQLError(text, at, f"{what}; {_expected(error.allowed or ())}") from None


def parts(node: Tree) -> list[Any]:
    """The children of a node; the grammar says which are tokens, which nodes, and which may be None."""
    return list(node.children)


def start_of(node: Tree | Token) -> int:
    """The place of a node in the text of its query."""
    place = node.start_pos if isinstance(node, Token) else node.meta.start_pos
    return place or 0


def meant(word: str, names: Iterable[str]) -> str:
    """Which of `names` was meant, or all of them."""
    known = {name.lower(): name for name in names}
    near = difflib.get_close_matches(word.lower(), known, n=1)
    return f"did you mean '{known[near[0]]}'?" if near else f"allowed here: {', '.join(known.values())}"


def _expected(terminals: Iterable[str]) -> str:
    order = [*WORDS, *sorted(terminals)]
    return (
        f"expected {' or '.join(WORDS.get(name, name) for name in sorted(set(terminals) - {'TIMES'}, key=order.index))}"
    )


@cache
def _parser() -> Lark:
    grammar = Path(__file__).with_name("pql.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", propagate_positions=True, maybe_placeholders=True)
