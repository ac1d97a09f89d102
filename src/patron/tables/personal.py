"""Which columns hold personal fields: by the words of their names, and by values that look like e-mail or phone.

Personal fields never become features; e-mail addresses and phone numbers, hashed, find customers who are there twice.
"""

import re
from itertools import pairwise

EMAIL_WORDS = frozenset({"email", "emails", "emailaddress", "mailaddress"})
PHONE_WORDS = frozenset({"phone", "phones", "phonenumber", "mobile", "tel", "telephone", "cellphone", "fax"})
_OTHER_WORDS = frozenset(
    {
        "surname", "firstname", "lastname", "fullname", "forename", "middlename", "username", "maiden", "address",
        "addresses", "street", "zip", "zipcode", "postcode", "postal", "iban", "ssn", "passport",
    }
)  # fmt: skip
_WHOSE_NAME = frozenset(
    {"first", "last", "full", "middle", "given", "family", "fore", "sur", "user", "customer", "contact", "person", "1",
     "2"}
)  # fmt: skip

# SQL predicates over a text, of DuckDB's RE2. Neither a date nor a share such as 0.1234567 is a phone number.
LOOKS_LIKE_EMAIL = r"regexp_full_match(trim({0}), '[^@\s]+@[^@\s]+\.[^@\s]+')"
LOOKS_LIKE_PHONE = (
    r"(regexp_full_match(trim({0}), '(\+|00|0|\()[\d\s()./-]{{6,20}}|\d{{3}}[-. ]\d{{3}}[-. ]\d{{4}}')"
    r" AND length(regexp_replace({0}, '\D', '', 'g')) BETWEEN 7 AND 15"
    r" AND NOT regexp_full_match(trim({0}), '\d{{1,4}}[-./]\d{{1,2}}[-./]\d{{1,4}}.*|0\.\d+'))"
)


def words(column: str) -> tuple[str, ...]:
    """The words of a column's name in lower case: `firstName`, `first_name` and `First Name` are the same two."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column)
    return tuple(re.findall(r"[a-z]+|\d+", apart.lower()))


def is_email(column: str) -> bool:
    """Whether the name says that it holds e-mail addresses."""
    return not EMAIL_WORDS.isdisjoint(words(column)) or _adjacent(words(column), "e", "mail")


def is_phone(column: str) -> bool:
    """Whether the name says that it holds phone numbers."""
    return not PHONE_WORDS.isdisjoint(words(column))


def is_personal(table: str, column: str) -> bool:
    """Whether the name says that it holds a person's name, address, e-mail or phone number.

    In table customers every `*_name` is a person's; elsewhere `brand_name` names a thing and `contact_name` does not.
    """
    parts = set(words(column))
    named = "name" in parts and (table == "customers" or parts - {"name"} <= _WHOSE_NAME)
    return named or is_email(column) or is_phone(column) or not _OTHER_WORDS.isdisjoint(parts)


def _adjacent(parts: tuple[str, ...], first: str, second: str) -> bool:
    return (first, second) in pairwise(parts)
