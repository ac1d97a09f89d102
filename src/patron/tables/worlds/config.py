"""What a world is like, as YAML says it: `configs/data/world.yaml` has every value, a preset changes some of them.

Rates are a year, values in the currency of the orders, and what is a share lies in [0, 1].
"""

from datetime import date
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from patron.tables.read import Validation

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(gt=0)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ArrivalConfig:
    """When customers come: the density of first orders at the last day over that at the first, and the share who order
    once and then not again before their trial has ended."""

    growth: Positive
    cold_share: Share


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class RelaunchConfig:
    """Customers of another kind: the share `share` of all comes from day `day` on, evenly and through a channel of
    their own, the others before it. They order at `rate` times the pace of others, and for `value` times as much."""

    day: Count
    share: Share
    rate: Positive
    value: Positive


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class PurchaseConfig:
    """How a customer buys and stops buying. Schmittlein, Morrison & Colombo 1987; Fader & Hardie 2013 for the values.

    For `trial_days` from the first order everybody is alike but for the Gamma of `rate_shape`; then the latent level
    of the customer shows. Lifetimes are exponential with a Gamma mixture of hazards, of shape `lifetime_shape`. Who
    leaves orders at `leaving_rate` of the former pace for `leaving_days`, then no more. Values of orders are Gamma of
    shape `value_shape` about the customer's mean, which varies by `value_spread` (coefficient of variation).
    """

    trial_days: NotNegative
    trial_rate: Positive
    rate: Positive
    rate_shape: Positive
    lifetime_days: Positive
    lifetime_shape: Positive
    leaving_days: NotNegative
    leaving_rate: Share
    value: Positive
    value_shape: Positive
    value_spread: NotNegative


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CommunityConfig:
    """The cross-customer signal. A customer's level after the trial is standard normal, and multiplies rate and value
    by `exp(rate_effect * level)` and `exp(value_effect * level)`; `graph_signal` is the share of its variance that the
    taste community has, the rest is the customer's own."""

    number: Count
    graph_signal: Share
    rate_effect: NotNegative
    value_effect: NotNegative


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CatalogueConfig:
    """Products: how many, in how many categories (which cut across the communities), how Zipf-like their popularity,
    for how long they are sold, and how many lines an order has. Every community has as many, of the same kinds, so
    the number is rounded up. `taste` is the share of a customer's lines that come from the own community's products;
    the others come from all."""

    products: Count
    categories: Count
    popularity: NotNegative
    life_days: Positive
    lines: Annotated[float, Field(ge=1)]
    taste: Share
    return_rate: Share


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CalendarConfig:
    """The first day, the length in days, by how much December beats an average month, and a lasting change of all
    rates by the factor `shift` on day `shift_day`."""

    start: date
    days: Count
    christmas: NotNegative
    shift: Positive
    shift_day: Annotated[int, Field(ge=0)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ContactConfig:
    """Campaigns every 28 days reach the share `reach` of the customers; who
    responds (on average the share `response`) orders at `lift` times the own pace on top for 14 days, at `discount`.
    Interactions are a year and active customer, complaints a share of the orders; around the leaving the former get
    fewer and the latter more frequent."""

    reach: Share
    response: Share
    lift: NotNegative
    discount: Annotated[float, Field(ge=0, lt=1)]
    interactions: NotNegative
    complaints: Share


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class WorldConfig:
    """A made-up shop whose truth is known. The same config makes the same tables, row for row."""

    name: Literal["world"]
    preset: str
    validation: Validation
    seed: Annotated[int, Field(ge=0)]
    customers: Count
    arrivals: ArrivalConfig
    relaunch: RelaunchConfig | None
    purchases: PurchaseConfig
    communities: CommunityConfig
    catalogue: CatalogueConfig
    calendar: CalendarConfig
    contacts: ContactConfig
    dirt: Share  # share of the rows of each table that is planted with an error
