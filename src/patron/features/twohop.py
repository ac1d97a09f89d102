"""Two hops on the purchase graph as columns: from a customer to the products bought, to the others who bought them.

Of the others it says how they did: what they spend now, and what they spent in the label's length of time after they
bought the product, in windows that have closed only. A customer's own record never counts for the customer (leave one
out): else a column would repeat the past of its own row. Averages over few buyers are shrunk to that over all.

All that is summed over buyers is a whole number (money in 1/10,000), so that leaving one out is exact and the order of
rows cannot matter.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from patron.features.moment import Moment

PRIOR = 5  # buyers of the average kind that every product has besides its own
_UNITS = 10_000
_DAY = 86_400


def twohop(moment: Moment) -> pd.DataFrame:
    """One row a customer known, sorted by the index `customer_id`: averages over the products bought, the often and
    recently bought ones weighing more, of what is known of their other buyers. NaN for who bought no product.
    No columns where no product was known at the first cutoff.

    later_spend: in `(purchase, purchase + horizon]`; growth: that over `(purchase - horizon, purchase]`; later_share:
    of purchases that any spend followed; pace and active: spend, and share with an order, in the last horizon; repeat:
    share who bought the product again; later_buyers, buyers, demand: log1p of how many; co_spend: spend of those with
    products in common, halved by each horizon of age, the more in common and the rarer the more it weighs.
    """
    if not moment.spec.has("order_items", "product_id"):
        return pd.DataFrame(index=moment.customers)
    bought = Bought.read(moment)
    measures = {**_later(bought), **_now(bought)}
    means = {name: bought.others_mean(*measure) for name, measure in measures.items()}
    columns = {**_in_words(means), **_numbers(bought, measures), **_demand(bought)}
    averaged = {name: bought.average(values) for name, values in columns.items()}
    frame = pd.DataFrame({**averaged, **_co_shoppers(bought)}, index=moment.customers)
    return frame.add_prefix("twohop_")


def buyers_of_products(moment: Moment) -> pd.DataFrame:
    """One row a product that was bought, sorted by the index `product_id`: what `twohop` says of the others who bought
    it, here of all its buyers, as `buyer_<what>`."""
    bought = Bought.read(moment)
    means = {name: bought.mean(*measure) for name, measure in {**_later(bought), **_now(bought)}.items()}
    index = pd.Index(bought.sold, name="product_id")
    return pd.DataFrame(_in_words(means), index=index).add_prefix("buyer_")


@dataclass(frozen=True)
class Orders:
    """Orders by customer, oldest first: code of the customer, seconds before the cutoff, money in units; [orders]."""

    customer: np.ndarray
    age: np.ndarray
    amount: np.ndarray

    def spend(self, customer: np.ndarray, *, youngest: np.ndarray, older: np.ndarray) -> np.ndarray:
        """What each of these customers spent at ages in `[youngest, older)`, in units: [n]."""
        total = np.concatenate([[0], np.cumsum(self.amount)])
        return total[self._until(customer, youngest)] - total[self._until(customer, older)]

    def _until(self, customer: np.ndarray, age: np.ndarray) -> np.ndarray:
        # How many orders there are up to the last one of this customer with at least that age.
        span = int(self.age.max(initial=0)) + 2
        asked = customer * span + (span - 1 - np.minimum(age, span - 1))
        return np.searchsorted(self.customer * span + (span - 1 - self.age), asked, side="right")


@dataclass(frozen=True)
class Bought:
    """Who bought what: one entry a customer and product, in their order; [pairs] unless said otherwise.

    `first` is where the purchases [purchases] of a pair start, whose ages and amounts are `age` and `amount`.
    """

    customer: np.ndarray
    product: np.ndarray
    first: np.ndarray
    age: np.ndarray
    amount: np.ndarray
    orders: Orders
    customers: int
    horizon: int
    sold: np.ndarray  # [products] ids

    @classmethod
    def read(cls, moment: Moment) -> "Bought":
        """All that was bought up to the cutoff, ages and the horizon in seconds."""
        known = moment.customers
        orders, lines = moment.run("order_amounts"), moment.run("product_purchases")
        sold, product = np.unique(lines["product_id"].to_numpy(), return_inverse=True)
        pair = known.get_indexer(pd.Index(lines["customer_id"])) * len(sold) + product
        distinct, first = np.unique(pair, return_index=True)
        buyer = known.get_indexer(pd.Index(orders["customer_id"]))
        assert all((np.diff(code) >= 0).all() for code in (pair, buyer)), "SQL sorts ids in another order"
        placed = Orders(buyer, _whole(orders["age"]), _whole(orders["amount"]))
        return cls(
            distinct // max(len(sold), 1), distinct % max(len(sold), 1), first, _whole(lines["age"]),
            _whole(lines["amount"]), placed, len(known), moment.days * _DAY, sold,
        )  # fmt: skip

    @cached_property
    def buyer(self) -> np.ndarray:
        """The customer of each purchase: [purchases]."""
        return np.repeat(self.customer, np.diff(np.append(self.first, len(self.age))))

    @cached_property
    def weight(self) -> np.ndarray:
        """Number of purchases, each halved by every horizon of its age."""
        return np.add.reduceat(0.5 ** (self.age / self.horizon), self.first)

    def of_pair(self, purchases: np.ndarray) -> np.ndarray:
        """The sum over the purchases of each pair, of whole numbers [purchases]."""
        return np.add.reduceat(purchases.astype(np.int64), self.first)

    def others(self, values: np.ndarray) -> np.ndarray:
        """The sum over the other buyers of the same product, of whole numbers."""
        return _sums(values, self.product)[self.product] - values

    def others_mean(self, values: np.ndarray, among: np.ndarray) -> np.ndarray:
        """The mean over the other buyers that are `among`, shrunk by PRIOR buyers to that over all pairs of others."""
        values, count = np.where(among, values, 0).astype(np.int64), among.astype(np.int64)
        total, number = (column.sum() - _sums(column, self.customer)[self.customer] for column in (values, count))
        overall = total / np.where(number > 0, number, np.nan)
        return (self.others(values) + PRIOR * overall) / (self.others(count) + PRIOR)

    def mean(self, values: np.ndarray, among: np.ndarray) -> np.ndarray:
        """The mean over the buyers that are `among`, shrunk by PRIOR buyers to that over all pairs: [products]."""
        values, count = np.where(among, values, 0).astype(np.int64), among.astype(np.int64)
        overall = values.sum() / count.sum() if count.any() else np.nan
        return (_sums(values, self.product) + PRIOR * overall) / (_sums(count, self.product) + PRIOR)

    def average(self, values: np.ndarray) -> np.ndarray:
        """The weighted mean over the products of each customer: [customers], NaN without any."""
        weight = np.bincount(self.customer, self.weight, minlength=self.customers)
        total = np.bincount(self.customer, self.weight * values, minlength=self.customers)
        return total / np.where(weight > 0, weight, np.nan)


Measure = tuple[np.ndarray, np.ndarray]  # whole numbers of pairs, and which pairs count


def _later(bought: Bought) -> dict[str, Measure]:
    # Of purchases whose window has closed: spend after and before, and whether any came after, a purchase on average.
    closed, horizon = bought.age >= bought.horizon, bought.horizon
    after = bought.orders.spend(bought.buyer, youngest=np.maximum(bought.age - horizon, 0), older=bought.age)
    before = bought.orders.spend(bought.buyer, youngest=bought.age, older=bought.age + horizon)
    number = bought.of_pair(closed)
    among, divisor = number > 0, np.maximum(number, 1)
    measured = {"later_spend": after, "earlier_spend": before, "later_share": (after > 0) * _UNITS}
    return {name: (bought.of_pair(np.where(closed, what, 0)) // divisor, among) for name, what in measured.items()}


def _now(bought: Bought) -> dict[str, Measure]:
    everybody = np.arange(bought.customers)
    zero, tenure = np.zeros(bought.customers, np.int64), np.zeros(bought.customers, np.int64)
    np.maximum.at(tenure, bought.orders.customer, bought.orders.age)
    pace = bought.orders.spend(everybody, youngest=zero, older=zero + bought.horizon)
    active = zero.copy()
    active[bought.orders.customer[bought.orders.age < bought.horizon]] = _UNITS
    all_, settled = np.ones(len(bought.customer), bool), tenure[bought.customer] >= bought.horizon
    again = bought.of_pair(np.ones(len(bought.age))) > 1
    return {
        "pace": (pace[bought.customer], settled),
        "tenure": (tenure[bought.customer], all_),
        "active": (active[bought.customer], all_),
        "repeat": (again * _UNITS, all_),
    }


def _in_words(means: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    earlier = means["earlier_spend"]
    plain = {name: means[name] / _UNITS for name in ("later_spend", "later_share", "pace", "active", "repeat")}
    growth = means["later_spend"] / np.where(earlier > 0, earlier, np.nan)
    return {**plain, "growth": growth, "tenure": means["tenure"] / _DAY}


def _numbers(bought: Bought, measures: Mapping[str, Measure]) -> dict[str, np.ndarray]:
    of = {"later_buyers": measures["later_spend"][1], "buyers": measures["tenure"][1]}
    return {name: np.log1p(bought.others(among.astype(np.int64))) for name, among in of.items()}


def _demand(bought: Bought) -> dict[str, np.ndarray]:
    recent = bought.age < bought.horizon
    before = ~recent & (bought.age < 2 * bought.horizon)
    sold, sold_before = (bought.others(bought.of_pair(np.where(when, bought.amount, 0))) for when in (recent, before))
    return {
        "demand": np.log1p(bought.others(bought.of_pair(recent))),
        "trend": np.log1p(sold / _UNITS) - np.log1p(sold_before / _UNITS),
    }


def _co_shoppers(bought: Bought) -> dict[str, np.ndarray]:
    # Products in common count 1 / buyers each: the overlap X diag(1 / buyers) X', its diagonal left out, times spend.
    decayed = np.round(bought.orders.amount * 0.5 ** (bought.orders.age / bought.horizon)).astype(np.int64)
    spend = _sums(decayed, bought.orders.customer, bought.customers)[bought.customer]
    buyers = _sums(np.ones(len(bought.customer), np.int64), bought.product)[bought.product]
    overlap, total = (
        np.bincount(bought.customer, what / buyers, minlength=bought.customers)
        for what in (buyers - 1, bought.others(spend))
    )
    bought_any = np.bincount(bought.customer, minlength=bought.customers) > 0
    return {
        "co_spend": total / np.where(overlap > 0, overlap, np.nan) / _UNITS,
        "co_overlap": np.where(bought_any, np.log1p(overlap), np.nan),
    }


def _whole(column: pd.Series) -> np.ndarray:
    return column.to_numpy(np.int64)


def _sums(values: np.ndarray, code: np.ndarray, size: int = 0) -> np.ndarray:
    # Exact, where bincount would sum floats.
    total = np.zeros(max(size, int(code.max(initial=-1)) + 1), np.int64)
    np.add.at(total, code, values)
    return total
