"""Every customer feature has one group; a group that is left out takes its columns with it and changes no other."""

from datetime import date
from typing import get_args

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from settings import ESTIMATORS, SMALL, setting

from patron.estimators import LightGBMConfig
from patron.estimators.base import Setting
from patron.estimators.lightgbm import FLAT, LightGBM
from patron.features.asof import FeatureSpec, customer_features, specify
from patron.features.groups import PATTERNS, RFM, Group, group_of
from patron.tables.database import Database
from patron.task.split import Fold

FIRST, LAST = date(2020, 4, 1), date(2021, 4, 1)
# Each season in two years; what lies after LAST is made to be known by nothing but its date.
SEASONS = [date(2020 + month // 12, month % 12 + 1, 1) for month in range(3, 27, 3)]
EVERY: tuple[Group, ...] = get_args(Group)


@pytest.fixture(scope="module")
def spec(shop: Database) -> FeatureSpec:
    return specify(shop, config=SMALL.features, horizon=SMALL.task.horizon, cutoffs=SEASONS)


@pytest.fixture(scope="module")
def whole(shop: Database, spec: FeatureSpec) -> pd.DataFrame:
    return customer_features(shop.upto(LAST), cutoff=LAST, spec=spec, groups=EVERY)


def test_every_column_has_one_group_and_every_group_a_column(whole: pd.DataFrame) -> None:
    assert whole.columns.is_unique
    assert {group_of(column) for column in whole} == set(EVERY) == set(PATTERNS)
    with pytest.raises(AssertionError, match="feature 'shoe_size' is of the groups"):
        group_of("shoe_size")


def test_names_from_the_data_stay_in_their_group() -> None:
    names = {"customer_spend_30d": "attributes", "customer_btyd_x": "attributes", "share_of_lag_1": "baskets",
             "event_count_a\nb": "order_events", "return_reason_customer_x": "returns"}  # fmt: skip
    assert {name: group_of(name) for name in names} == names


@pytest.mark.parametrize("left_out", EVERY)
def test_leaving_out_a_group_removes_its_columns_and_changes_no_other(
    left_out: Group, shop: Database, spec: FeatureSpec, whole: pd.DataFrame
) -> None:
    groups = tuple(group for group in EVERY if group != left_out)
    found = customer_features(shop.upto(LAST), cutoff=LAST, spec=spec, groups=groups)
    kept = [column for column in whole if group_of(column) != left_out]
    assert len(kept) < whole.shape[1]
    assert_frame_equal(found, whole[kept], check_exact=True)


def test_the_spec_s_groups_are_made_by_default_and_never_two_hops(
    shop: Database, spec: FeatureSpec, whole: pd.DataFrame
) -> None:
    found = customer_features(shop.upto(LAST), cutoff=LAST, spec=spec)
    assert {group_of(column) for column in found} == set(spec.groups) == set(EVERY) - {"twohop"}
    assert_frame_equal(found, whole[found.columns], check_exact=True)


def test_lightgbm_sees_the_groups_of_its_kind(shop: Database, fold: Fold, setting_here: Setting) -> None:
    rows = fold.train
    seen = {}
    for config in ESTIMATORS.values():
        if isinstance(config, LightGBMConfig):
            one = LightGBM(config, setting_here)
            one.spec = specify(shop, config=SMALL.features, horizon=rows.horizon, cutoffs=rows.cutoffs)
            seen[config.features] = set(one._design(shop, rows))
    assert seen["rfm"] == set(RFM)
    assert {group_of(column) for column in seen["flat"]} == set(FLAT)
    assert {group_of(column) for column in seen["all"]} == set(EVERY) - {"twohop", "external", "calendar"}
    assert {group_of(column) for column in seen["twohop"] - seen["all"]} == {"twohop"}
    assert seen["rfm"] < seen["flat"] < seen["all"] < seen["twohop"]


@pytest.fixture
def setting_here(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    return setting(tmp_path_factory.mktemp("x"))
