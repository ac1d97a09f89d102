"""The SQL of patron, written for DuckDB, in the dialect of Spark: one text, transpiled by sqlglot.

Where a word means something else in Spark, it becomes what it means in DuckDB: DATE_DIFF('second', …) is a difference
of whole seconds, whatever follows them; a regular expression matches the whole text; a float becomes a DECIMAL by
rounding x * 10^scale, where Spark would round the shortest text of x. Values stand in the text as literals: a naive
time that is handed over as a value would be shifted by the time zone of this process.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlglot import exp


def to_spark(sql: str, *, params: Mapping[str, Any], tables: Mapping[str, str]) -> str:
    """`sql` for Spark: `$name` is the value of `params`, and a table that `tables` names is called as it says there.

    A common table expression hides a table of the same name, as it does in SQL. Raises KeyError for a param that has
    no value.
    """
    import sqlglot

    tree = sqlglot.parse_one(sql, read="duckdb")
    _rename(tree, tables)
    for node in reversed([*tree.walk()]):  # what stands inside goes first
        node.replace(_in_spark(node, params))
    return tree.sql(dialect="spark", comments=False)


def _rename(tree: "exp.Expr", tables: Mapping[str, str]) -> None:
    from sqlglot import exp
    from sqlglot.optimizer.scope import traverse_scope

    sources = [source for scope in traverse_scope(tree) for source in scope.sources.values()]
    for table in {id(source): source for source in sources if isinstance(source, exp.Table)}.values():
        if table.name in tables:
            name = table.alias or table.name
            table.set("this", exp.to_identifier(tables[table.name]))
            table.set("alias", exp.TableAlias(this=exp.to_identifier(name)))


def _in_spark(node: "exp.Expr", params: Mapping[str, Any]) -> "exp.Expr":
    from sqlglot import exp

    match node:
        case exp.Parameter() | exp.Placeholder():
            return _literal(params[node.name])
        case exp.Cast() if node.to.this == exp.DType.DECIMAL and node.to.expressions:
            return _decimal(node)
        case exp.DateDiff() if str(node.args["unit"]).strip("'").lower() == "second":
            return exp.Paren(this=exp.Sub(this=_second(node.this), expression=_second(node.expression)))
        case exp.RegexpFullMatch():
            whole = exp.Literal.string(rf"\A(?:{node.expression.name})\z")
            return exp.RegexpLike(this=node.this, expression=whole)
        case exp.Anonymous() if node.name.lower() == "isfinite":
            infinite = exp.cast(exp.Literal.string("Infinity"), "DOUBLE")
            return exp.LT(this=exp.Abs(this=node.expressions[0]), expression=infinite)  # to Spark NaN is larger
    return node


def _literal(value: Any) -> "exp.Expr":
    from sqlglot import exp

    if isinstance(value, datetime):
        return exp.cast(exp.Literal.string(value.isoformat(sep=" ")), "TIMESTAMP", dialect="duckdb")
    return exp.convert(value)


def _second(time: "exp.Expr") -> "exp.Expr":
    from sqlglot import exp

    return exp.func("UNIX_SECONDS", exp.cast(time.copy(), "TIMESTAMPLTZ"))


def _decimal(cast: "exp.Cast") -> "exp.Expr":
    # Exact below 2^53 units.
    from sqlglot import exp

    precision, scale = (int(size.name) for size in cast.to.expressions)
    units = exp.func("ROUND", exp.cast(cast.this.copy(), "DOUBLE") * exp.Literal.number(f"1e{scale}"))
    unit = exp.cast(exp.Literal.string(f"1e-{scale}"), f"DECIMAL({scale}, {scale})")
    return exp.cast(exp.cast(units, f"DECIMAL({precision}, 0)") * unit, f"DECIMAL({precision}, {scale})")
