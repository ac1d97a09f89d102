"""A company's own tables under canonical names, read from CSV, Parquet or a DuckDB database through a mapping in YAML.

    data:
      name: files
      path: /my/shop
      tables:
        customers: {file: customers.csv, columns: {customer_id: Customer}}
        orders:
          file: orders.csv
          columns: {order_id: Invoice, customer_id: Customer, order_date: Date, product_id: Sku, amount: Sum}

What comes out is raw: names are canonical, types are as stored, nothing is judged yet (that is `validate`). A CSV file
is read as text throughout, so that the id 00123 keeps its zeros. A column that already has its canonical name, in any
case, needs no mapping. Other columns are kept under their own names. Three things are derived when they are missing:

- `order_items`, when the orders carry products, quantities or amounts: a file of lines becomes two tables;
- `amount = quantity * price`, when both are stored as numbers (`validate` does it for text);
- `customers`, from the orders, registered on the day of their first order: `upto` drops those who were not there yet.
"""

import difflib
import glob
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from patron.tables.checks.report import Mode as Validation
from patron.tables.schema import REQUIRED_TABLES, TABLES

ITEM_COLUMNS = ("product_id", "quantity", "price", "amount")  # a row of orders with one of these is a line of an order
ORDER_COLUMNS = ("customer_id", "order_date", "channel")  # what all lines of an order share
_INSTANT = "try_cast(order_date::VARCHAR AS TIMESTAMP)"  # NULL where SQL reads no date
_KINDS = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".parquet": "parquet", ".pq": "parquet",
    ".duckdb": "duckdb", ".ddb": "duckdb", ".db": "duckdb",
}  # fmt: skip


class UnreadableTables(ValueError):
    """Some tables cannot be read. `problems` and the message hold everything found, in all tables."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n- ".join([f"the tables cannot be read, {len(self.problems)} problem(s):", *self.problems]))


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TableConfig:
    """Where a table is: `file` below the data's path, `table` in a DuckDB file, `columns` from canonical to own."""

    file: str | None = None
    table: str | None = None
    columns: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FilesConfig:
    """A company's tables, in a folder or a DuckDB file; reports call them `label`, by default the name of the path."""

    path: Path
    tables: dict[str, TableConfig]
    name: Literal["files"] = "files"
    label: str = ""
    validation: Validation = "strict"

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", self.path.expanduser())
        object.__setattr__(self, "label", self.label or self.path.resolve().name)


def read_files(config: FilesConfig) -> dict[str, pa.Table]:
    """The raw tables that `config` maps. Raises UnreadableTables with every problem of every table at once."""
    tables: dict[str, pa.Table] = {}
    problems: list[str] = []
    for name in config.tables:
        try:
            tables[name] = _read_table(config, name=name)
        except UnreadableTables as error:
            problems += error.problems
    if problems:
        raise UnreadableTables(problems)
    return derive(tables)


def derive(tables: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    """The raw tables with order items, amounts and customers added where they follow from what is there."""
    complete = dict(tables)
    if "orders" in complete and "order_items" not in complete and _is_lines(complete["orders"]):
        lines = complete["orders"]
        complete["orders"] = _orders_of(lines)
        complete["order_items"] = lines.drop_columns([name for name in ORDER_COLUMNS if name in lines.column_names])
    if "order_items" in complete:
        complete["order_items"] = _with_amount(complete["order_items"])
    if "customers" not in complete and "orders" in complete and "customer_id" in complete["orders"].column_names:
        complete["customers"] = _customers_of(complete["orders"])
    return complete


def select(sql: str, **tables: pa.Table) -> pa.Table:
    """The result of `sql` on raw tables, each known to SQL by the name it is passed under."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, table in tables.items():
            connection.register(name, table)
        return connection.sql(sql).to_arrow_table()


def packaged_file(path: str, *, package: str, mend: str) -> Path:
    """The file at `path` in an installed package, which is not imported. Raises UnreadableTables with the `mend`."""
    spec = find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or []
    for folder in folders:
        if (Path(folder) / path).is_file():
            return Path(folder) / path
    raise UnreadableTables([f"{path} of the Python package {package} is not installed; {mend}"])


# One table: find it, open it, name its columns


def _read_table(config: FilesConfig, *, name: str) -> pa.Table:
    if name not in TABLES:
        raise UnreadableTables([f"patron has no table '{name}'{_nearest(name, TABLES)}; it has {', '.join(TABLES)}"])
    table, known = config.tables[name], _known_columns(config, name=name)
    problems = [
        f"table {name} has no canonical column '{column}'{_nearest(column, known)}; it has {', '.join(known)}"
        for column in table.columns if column not in known
    ]  # fmt: skip
    try:
        location = _locate(config.path, name=name, file=table.file)
        stored = _open(location, name=name, table=table.table or name)
    except UnreadableTables as error:
        raise UnreadableTables([*problems, *error.problems]) from error
    chosen = _choose(stored.column_names, columns=table.columns, known=known)
    problems += [f"table {name}: {location} {lack}" for lack in _lacks(stored.column_names, chosen=chosen)]
    if problems:
        raise UnreadableTables(problems)
    return _rename(stored, chosen=chosen)


def _known_columns(config: FilesConfig, *, name: str) -> list[str]:
    """The canonical columns that may be mapped: orders that stand for their items may have those of the items too."""
    columns = [column.name for column in TABLES[name].columns]
    return [*columns, *ITEM_COLUMNS] if name == "orders" and "order_items" not in config.tables else columns


def _locate(path: Path, *, name: str, file: str | None) -> Path:
    """The file of a table, or the folder of its Parquet files. It is there."""
    location = path / file if file else path
    if location.is_file() or (file and location.is_dir()):
        return location
    if location.is_dir():
        raise UnreadableTables([f"table {name}: say which `file` in the folder holds it. {_contents(location)}"])
    parent = location.parent
    near = _nearest(location.name, [entry.name for entry in parent.iterdir()]) if parent.is_dir() else ""
    raise UnreadableTables([f"table {name}: there is no {location}{near}. {_contents(parent)}"])


def _contents(folder: Path) -> str:
    if not folder.is_dir():
        return f"There is no folder {folder} either"
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    return f"{folder} holds: {', '.join(names) or 'nothing'}"


def _open(location: Path, *, name: str, table: str) -> pa.Table:
    """All that is stored at `location`. Whatever DuckDB cannot make sense of becomes UnreadableTables."""
    if location.is_file() and location.stat().st_size == 0:
        raise UnreadableTables([f"table {name}: {location} is empty"])
    try:
        stored = _stored(location, name=name, table=table)
    except duckdb.Error as error:
        reason = " ".join(str(error).strip().splitlines()[:3])
        raise UnreadableTables([f"table {name}: {location} cannot be read: {reason}"]) from error
    if stored.num_rows == 0 and name in REQUIRED_TABLES:
        raise UnreadableTables([f"table {name}: {location} has columns but no rows"])
    return stored


def _stored(location: Path, *, name: str, table: str) -> pa.Table:
    pattern = glob.escape(str(location))
    suffixes = [suffix.lower() for suffix in location.suffixes if suffix.lower() != ".gz"]
    if location.is_dir():
        pattern, suffixes = f"{pattern}/**/*.parquet", [".parquet"]
    match _KINDS.get(suffixes[-1] if suffixes else ""):
        case "csv":  # a '#' starts no comment: shops write order ids as #1001
            options = "all_varchar = true, header = true, quote = '\"', comment = ''"
            return _scan(pattern, reader="read_csv", options=options)
        case "parquet":  # values in the names of a partitioned folder stay text, as an id may start with zeros
            options = "union_by_name = true, hive_types_autocast = false"
            return _scan(pattern, reader="read_parquet", options=options)
        case "duckdb":
            return _duckdb_table(location, name=name, table=table)
    raise UnreadableTables([f"table {name}: {location} is none of the files patron reads: {', '.join(_KINDS)}"])


def _scan(pattern: str, *, reader: str, options: str) -> pa.Table:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        sql = f"SELECT * FROM {reader}($path, {options})"
        return connection.sql(sql, params={"path": pattern}).to_arrow_table()


def _duckdb_table(location: Path, *, name: str, table: str) -> pa.Table:
    with duckdb.connect(str(location), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        rows = connection.execute("SELECT table_name FROM information_schema.tables ORDER BY 1").fetchall()
        present = [row[0] for row in rows]
        if table.split(".")[-1] not in present:
            held = f"{_nearest(table, present)}; it holds {', '.join(present) or 'none'}"
            raise UnreadableTables([f"table {name}: {location} holds no table '{table}'{held}"])
        quoted = ".".join('"' + part.replace('"', '""') + '"' for part in table.split("."))
        return connection.sql(f"SELECT * FROM {quoted}").to_arrow_table()


def _choose(present: Sequence[str], *, columns: Mapping[str, str], known: Sequence[str]) -> dict[str, str]:
    """Canonical to own name: what is mapped, and what has its canonical name already and is not mapped to another."""
    free = {own.casefold(): own for own in present if own not in columns.values()}
    wanted = {**free, **columns}
    return {name: wanted[name] for name in known if name in wanted}


def _lacks(present: Sequence[str], *, chosen: Mapping[str, str]) -> list[str]:
    """What is wrong with a table of the columns `present`, from which `chosen` are wanted."""
    missing = {name: own for name, own in chosen.items() if own not in present}
    if len(present) == 1 and (missing or not chosen):
        mend = "separate the columns by comma, semicolon, tab or |, and have as many on every line"
        return [f"has only one column, '{present[0]}'; {mend}"]
    return [
        f"has no column '{own}' to be {name}{_nearest(own, present)}; it has {', '.join(present)}"
        for name, own in missing.items()
    ]


def _rename(stored: pa.Table, *, chosen: Mapping[str, str]) -> pa.Table:
    """The chosen columns first, under canonical names, then the others that do not collide with them."""
    taken = {name.casefold() for name in chosen}  # SQL does not tell Price from price
    others = [own for own in stored.column_names if own not in chosen.values() and own.casefold() not in taken]
    return pa.table({name: stored[own] for name, own in [*chosen.items(), *zip(others, others, strict=True)]})


def _nearest(word: str, options: Iterable[str]) -> str:
    folded = {option.casefold(): option for option in options}
    found = difflib.get_close_matches(word.casefold(), folded, n=2)
    return f" (nearest: {', '.join(folded[near] for near in found)})" if found else ""


# What follows from the tables that are there


def _is_lines(orders: pa.Table) -> bool:
    return "order_id" in orders.column_names and any(column in orders.column_names for column in ITEM_COLUMNS)


def _orders_of(lines: pa.Table) -> pa.Table:
    """One row an order: its customer, the earliest date of its lines, its channel. Raises if it has two customers."""
    _refuse_shared(lines)
    rules = {
        "customer_id": "min(customer_id)",
        # Text that SQL does not read as a date is for `validate` to judge: then the date of the first line.
        "order_date": f"coalesce(arg_min(order_date, {_INSTANT}), arg_min(order_date, _line))",
        "channel": "arg_min(channel, _line)",
    }
    columns = [f"{rule} AS {name}" for name, rule in rules.items() if name in lines.column_names]
    sql = f"SELECT {', '.join(['order_id', *columns])} FROM lines GROUP BY order_id ORDER BY min(_line)"
    return select(sql, lines=_numbered(lines))


def _refuse_shared(lines: pa.Table) -> None:
    if "customer_id" not in lines.column_names:
        return
    sql = """SELECT order_id::VARCHAR AS order_id FROM lines WHERE order_id IS NOT NULL
             GROUP BY 1 HAVING count(DISTINCT customer_id) > 1 ORDER BY 1"""
    shared = select(sql, lines=lines)["order_id"].to_pylist()
    if shared:
        found = f"{len(shared)} order(s) have more than one customer, the first {', '.join(shared[:5])}"
        mend = "make order_id unique, for example by putting the customer's id before it"
        raise UnreadableTables([f"table orders, column customer_id: {found}; {mend}"])


def _with_amount(items: pa.Table) -> pa.Table:
    """Items with `amount = quantity * price`, if they have none and both are numbers."""
    if "amount" in items.column_names or not all(_is_number(items, column) for column in ("quantity", "price")):
        return items
    amount = pc.multiply(items["quantity"].cast(pa.float64()), items["price"].cast(pa.float64()))
    return items.append_column("amount", amount)


def _is_number(table: pa.Table, column: str) -> bool:
    if column not in table.column_names:
        return False
    kind = table.schema.field(column).type
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _customers_of(orders: pa.Table) -> pa.Table:
    """The distinct customers of the orders, registered on their first; NULL if SQL cannot read one of its dates."""
    dated = f"CASE WHEN count(order_date) = count({_INSTANT}) THEN min({_INSTANT}) END"
    registered = dated if "order_date" in orders.column_names else "NULL::TIMESTAMP"
    sql = f"""SELECT customer_id, {registered} AS registration_date FROM orders
              WHERE customer_id IS NOT NULL GROUP BY customer_id ORDER BY min(_line)"""
    return select(sql, orders=_numbered(orders))


def _numbered(table: pa.Table) -> pa.Table:
    """`table` with its row number as `_line`, so that the order of a file survives a GROUP BY."""
    return table.append_column("_line", pa.array(range(table.num_rows), pa.int64()))
