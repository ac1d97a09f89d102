"""Customers who may be one person: they share an e-mail address or a phone number. Only hashes of those are compared,
and the report names customers, never what they share."""

from collections.abc import Iterator

import duckdb
import pyarrow as pa

from patron.tables.checks.reading import importable
from patron.tables.checks.report import Violation
from patron.tables.personal import LOOKS_LIKE_EMAIL, is_email, is_phone

_PAIRS = 5
_FEWEST_DIGITS = 7  # a shorter number is an extension or a note
_MEND = "merge them, so that one person is one customer, or ignore it if they are several"


def duplicates(connection: duckdb.DuckDBPyConnection, customers: pa.Table) -> Iterator[Violation]:
    """A warning for each e-mail or phone column, as its name says, in which customers share a value.

    E-mail addresses are compared in lower case without blanks around them, phone numbers by their digits.
    """
    for column in dict.fromkeys(customers.column_names):
        if is_email(column):
            normal, valid, what = "lower(trim(said))", LOOKS_LIKE_EMAIL.format("said"), "e-mail address"
            yield from _shared(connection, customers, column, normal=normal, valid=valid, what=what)
        elif is_phone(column):
            normal = r"regexp_replace(said, '\D', '', 'g')"
            valid, what = f"length({normal}) >= {_FEWEST_DIGITS}", "phone number"
            yield from _shared(connection, customers, column, normal=normal, valid=valid, what=what)


def _shared(
    connection: duckdb.DuckDBPyConnection, customers: pa.Table, column: str, *, normal: str, valid: str, what: str
) -> Iterator[Violation]:
    at = customers.column_names.index(column)
    contacts = {"customer_id": importable(customers["customer_id"]), "contact": importable(customers.column(at))}
    connection.register("contacts", pa.table(contacts))
    hashed = f"""
        SELECT DISTINCT customer_id, sha256({normal}) AS hash
        FROM (SELECT customer_id, CAST(contact AS VARCHAR) AS said FROM contacts) AS texts
        WHERE customer_id IS NOT NULL AND {valid}"""
    shared = f"""
        SELECT COUNT(*) AS customers, MIN(customer_id) AS one, MIN_BY(customer_id, nth) FILTER (WHERE nth = 2) AS other
        FROM (SELECT *, row_number() OVER (PARTITION BY hash ORDER BY customer_id) AS nth FROM ({hashed}) AS hashed)
        GROUP BY hash HAVING COUNT(*) > 1"""
    found = connection.execute(f"SELECT * FROM ({shared}) AS shared ORDER BY one, other").fetchall()
    connection.unregister("contacts")
    if found:
        count = sum(number for number, _, _ in found)
        pairs = tuple(f"{one} and {other}" for _, one, other in found[:_PAIRS])
        rule = f"customers who share the {what} of another"
        yield Violation("customers", column, rule, "warning", count, count / customers.num_rows, pairs, _MEND)
