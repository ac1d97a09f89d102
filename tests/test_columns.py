"""What a column is taken for: by its schema, its name, its values; what may be set, what never becomes a feature."""

import logging
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pytest
from settings import SMALL

from patron.config import ConfigError, load
from patron.days import Horizon
from patron.features.asof import FeatureConfig, FeatureSpec, customer_features, product_features, specify
from patron.features.columns import Kind, settings, typed_columns
from patron.tables.database import Database
from patron.tables.personal import is_email, is_personal, is_phone, words
from patron.testing import scrambled_after

ROWS, NOBODY = 60, [None] * 60
CUTOFF = date(2020, 7, 1)
MORNING = datetime(2020, 1, 2, 8)

COLUMNS: dict[str, tuple[list[Any], Kind]] = {
    "age_band": (["young", "old"] * 30, "category"),
    "income": ([30_000 + 7 * k / 2 for k in range(ROWS)], "number"),  # floats that all differ are no ids
    "children": ([k % 4 for k in range(ROWS)], "number"),
    "vip": ([True, False] * 30, "number"),
    "birthday": ([date(1980, 1, 1 + k % 28) for k in range(ROWS)], "date"),
    "note": ([f"note {k % 51}" for k in range(ROWS)], "text"),
    "town": ([f"town {k % 50}" for k in range(ROWS)], "category"),
    "crm_key": ([f"K{k}" for k in range(ROWS)], "id"),
    "serial": (list(range(ROWS)), "id"),
    "legacy_id": ([k % 3 for k in range(ROWS)], "id"),
    "company_name": (["A", "B"] * 30, "personal"),
    "e_mail": (["a@x.com", "b@x.com"] * 30, "personal"),
    "Postcode": (["1000", "2000"] * 30, "personal"),
    "contact": (["ann@x.com", "+49 30 555-1234", None] * 20, "personal"),  # by its values
    "handy": (["0151 2345678", "0160/765432-1"] * 30, "personal"),
    "call": (["555-123-4567", "(555) 123 4567"] * 30, "personal"),
    "since": (["2020-01-02", "01.02.2020"] * 30, "category"),  # dates in text are no phone numbers
    "code": (["0234", "0235"] * 30, "category"),  # numbers have no leading zeros
    # as a CSV file is read
    "pets": (["0", "-1", None] * 20, "number"),
    "rate": ([f"{k}.5" for k in range(ROWS)], "number"),
    "ticket": ([str(k) for k in range(ROWS)], "id"),
    "joined": ([f"2019-01-{1 + k % 28:02d} 10:00:{k:02d}" for k in range(ROWS)], "date"),
    "share": ([f"0.{1234567 + k}" for k in range(ROWS)], "number"),
    "band": (["0-50000", "0-99000"] * 30, "category"),  # too few digits for a phone number
    "blank": (["", " ", "gold"] * 20, "category"),
}


def make_shop(**extra: list[Any]) -> Database:
    columns = {name: values for name, (values, _) in COLUMNS.items()} | extra
    customers = pa.table(
        {
            "customer_id": range(ROWS),
            "channel": ["web"] * ROWS,
            "empty": pa.array(NOBODY, pa.string()),
            "spaces": [" "] * ROWS,
        }
    )
    for name, values in columns.items():
        customers = customers.append_column(name, pa.array(values))
    orders = pa.table(
        {"order_id": [1, 2], "customer_id": [0, 1], "order_date": pa.array([MORNING] * 2, pa.timestamp("us"))}
    )
    items = pa.table({"order_id": [1, 2], "product_id": [5, 6], "amount": [1.0, 2.0]})
    products = pa.table(
        {"product_id": [5, 6], "product_name": ["pot", "cup"], "brand": ["x", "y"], "brand_name": ["X", "Y"],
         "price": [8.0, None], "cost": [2.0, 1.0], "contact_name": ["Ann", "Ben"]}
    )  # fmt: skip
    return Database("shop", {"customers": customers, "orders": orders, "order_items": items, "products": products})


def kinds(db: Database, **chosen: dict[str, Kind]) -> dict[str, Kind]:
    return {f"{c.table}.{c.name}": c.kind for c in typed_columns(db.upto(CUTOFF), chosen=settings(chosen))}


def config(**columns: dict[str, Any]) -> FeatureConfig:
    plain = {"groups": ["attributes", "rfm"], "windows": [30], "lags": 0, "top_categories": 0, "top_types": 0}
    return load(plain | {"columns": columns}, schema=FeatureConfig)


def spec_of(db: Database, **columns: dict[str, Any]) -> FeatureSpec:
    return specify(db, config=config(**columns), horizon=Horizon(30, "days"), cutoffs=[CUTOFF])


# --- names


def test_names_are_split_into_words() -> None:
    for name in ("firstName", "first_name", "First Name", "first-name"):
        assert words(name) == ("first", "name")


@pytest.mark.parametrize(
    "name",
    ["name", "first_name", "lastName", "Surname", "company_name", "email", "E-Mail", "e_mail_2", "phone",
     "Mobile Phone", "tel", "address_line_1", "street", "zip", "ZipCode", "postcode", "billing_address", "iban"],
)  # fmt: skip
def test_personal_fields_are_known_by_their_names(name: str) -> None:
    assert is_personal("customers", name)


@pytest.mark.parametrize(
    "name", ["geo", "segment", "telling", "zipper", "mailing_group", "username_length_x", "points"]
)
def test_words_within_words_are_not_personal(name: str) -> None:
    assert is_personal("customers", name) == (name == "username_length_x")  # a word of its own there


def test_names_of_things_are_not_personal() -> None:
    assert not is_personal("products", "brand_name")
    assert is_personal("products", "contact_name")
    assert is_personal("customers", "brand_name")
    assert (is_email("e_mail"), is_email("mail_group"), is_phone("TelNo"), is_phone("hotel")) == (
        True,
        False,
        True,
        False,
    )


# --- kinds


def test_columns_are_what_they_are_taken_for() -> None:
    found = kinds(make_shop())
    assert {name: found[f"customers.{name}"] for name in COLUMNS} == {name: kind for name, (_, kind) in COLUMNS.items()}
    assert not {"customers.empty", "customers.spaces"} & set(found)  # nothing is known of it
    canonical = {
        "customers.customer_id": "id", "customers.channel": "category", "orders.order_date": "date",
        "order_items.amount": "number", "products.product_name": "text",
    }  # fmt: skip
    assert {name: found[name] for name in canonical} == canonical


def test_few_rows_do_not_make_an_id() -> None:
    """Two products of two brands: values that differ, but of which nothing can be told."""
    found = kinds(make_shop())
    assert (found["products.brand"], found["products.brand_name"]) == ("category", "category")


def test_kinds_may_be_set() -> None:
    chosen: dict[str, Kind] = {"children": "category", "code": "number", "note": "category", "channel": "text"}
    found = kinds(make_shop(), customers=chosen)
    assert {name: found[f"customers.{name}"] for name in chosen} == chosen
    spec = spec_of(make_shop(), customers=chosen)
    row = customer_features(make_shop().upto(CUTOFF), cutoff=CUTOFF, spec=spec).loc[1]
    assert (row["customer_children"], row["customer_code"], row["customer_note"]) == ("1", 235.0, "note 1")
    assert "customer_channel" not in row


def test_unknown_tables_and_kinds_are_named() -> None:
    with pytest.raises(ConfigError, match=r"columns: there is no table 'custmers'; did you mean 'customers'\?"):
        config(custmers={"age_band": "number"})
    with pytest.raises(ConfigError, match=r"customers.age_band: Input should be 'number', 'category'"):
        config(customers={"age_band": "numeric"})
    with pytest.raises(ConfigError, match="estimator=lightgbm_twohop"):
        load({**SMALL_FEATURES, "groups": ["rfm", "twohop"]}, schema=FeatureConfig)


SMALL_FEATURES = {"windows": [30], "lags": 0, "top_categories": 0, "top_types": 0, "columns": {}}


def test_a_column_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"features.columns.customers.age: .* no such column; it has .*age_band"):
        spec_of(make_shop(), customers={"age": "number"})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Postcode", "a personal field"),
        pytest.param("contact", "a personal field", marks=pytest.mark.slow),
        pytest.param("legacy_id", "an id", marks=pytest.mark.slow),
        ("customer_id", "an id"),
    ],
)
def test_ids_and_personal_fields_cannot_be_set_to_anything_else(name: str, said: str) -> None:
    for kind in ("category", "number", "text"):
        with pytest.raises(ValueError, match=f"customers.{name}: it is {said}, which never becomes a feature"):
            spec_of(make_shop(), customers={name: kind})


# --- features


def test_attributes_by_hand() -> None:
    born = [date(1990, 1, 1), date(2020, 8, 1)] * 30  # one is born after the cutoff
    shop = make_shop(birthday=born, income=[float("inf"), 5.0] * 30, age_band=["young", None] * 30)
    found = customer_features(shop.upto(CUTOFF), cutoff=CUTOFF, spec=spec_of(shop), groups=("attributes",))
    used = {name for name, (_, kind) in COLUMNS.items() if kind in ("number", "category")}
    assert set(found) == {f"customer_{name}" for name in used} | {
        "customer_channel",
        "customer_birthday_age",
        "customer_joined_age",
    }
    assert found.loc[0, "customer_birthday_age"] == (CUTOFF - date(1990, 1, 1)).days
    assert found["customer_birthday_age"].isna().tolist() == [False, True] * 30
    assert found["customer_income"].isna().tolist() == [True, False] * 30
    assert found["customer_vip"].tolist() == [1.0, 0.0] * 30
    assert found.loc[[0, 1], "customer_pets"].tolist() == [0, -1]
    assert found.loc[0, "customer_joined_age"] == (CUTOFF - date(2019, 1, 1)).days - 10 / 24
    assert found["customer_blank"].isna().tolist() == [True, True, False] * 20
    assert found.loc[0, "customer_age_band"] == "young"
    assert found["customer_age_band"].isna().sum() == 30


def test_a_column_that_is_lost_after_the_fit_is_named() -> None:
    shop = make_shop()
    less = Database("less", {**shop.tables, "customers": shop["customers"].drop_columns(["income", "vip"])})
    with pytest.raises(ValueError, match=r"table customers has no columns \['income', 'vip'\].*learned; add them"):
        customer_features(less.upto(CUTOFF), cutoff=CUTOFF, spec=spec_of(shop))


def test_products_have_their_columns_and_margin() -> None:
    shop = make_shop()
    spec = spec_of(shop)
    found = product_features(shop.upto(CUTOFF), cutoff=CUTOFF, spec=spec, key="product_id")
    assert found["product_brand"].tolist() == ["x", "y"]
    assert found.loc[5, ["product_price", "product_cost", "product_margin"]].tolist() == [8, 2, 0.75]
    assert found.loc[6, ["product_price", "product_margin"]].isna().all()
    assert not {"product_contact_name", "product_product_name", "product_category_id"} & set(found)


def test_no_personal_value_reaches_a_feature(shop: Database) -> None:
    cutoff = date(2021, 4, 1)
    spec = specify(shop, config=SMALL.features, horizon=SMALL.task.horizon, cutoffs=[cutoff])
    found = customer_features(shop.upto(cutoff), cutoff=cutoff, spec=spec)
    customers = shop["customers"].to_pandas()
    private = set(customers["email"]) | set(customers["phone"]) | set(customers["first_name"])
    texts = found.select_dtypes(exclude="number")
    assert not private & set(texts.to_numpy().ravel().tolist())
    assert {"customer_geo", "customer_age_band", "loyalty_level"} == set(texts)
    assert not {"customer_email", "customer_phone", "customer_first_name"} & set(found)


# --- when


def test_the_future_does_not_move_kinds(shop: Database) -> None:
    first, later = date(2020, 9, 1), date(2021, 1, 1)
    specs = [
        specify(db, config=SMALL.features, horizon=SMALL.task.horizon, cutoffs=[first, later])
        for db in (shop, scrambled_after(shop, cutoff=first))
    ]
    assert specs[0].columns == specs[1].columns
    assert specs[0].event_types == specs[1].event_types
    assert len(specs[0].columns) > 40


def test_the_table_of_columns_is_said_once_a_fit(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "patron"):
        shop = make_shop()
        for _ in range(3):
            spec_of(shop)
    (record,) = caplog.records
    title, customers, *_ = record.getMessage().splitlines()
    assert title == "columns of 'shop' as known at 2020-07-01"
    assert customers.startswith("customers: id (customer_id), ")  # what is in brackets becomes no feature
    assert "; category channel, age_band, " in customers
    assert "; text (note); personal (company_name), (e_mail), (Postcode), " in customers
