"""Every mistake in a query is said, with the place where it stands."""

import re

import pytest
from queries import EACH

from patron.task.pql import PQLError, compile

# The query, the offending token, and what is said. The caret stands under `«`.
MISTAKES = [
    ("«", "the query is empty"),
    ("«SUM(orders.x, 0, 1, days)", "'SUM' has no place here; expected PREDICT"),
    (
        "PREDICT SUM(«order_itms.amount, 0, 9, days)" + EACH,
        "there is no table 'order_itms'; did you mean 'order_items'?",
    ),
    (
        "PREDICT SUM(order_items.«amuont, 0, 9, days)" + EACH,
        "table order_items has no column 'amuont'; did you mean 'amount'?",
    ),
    ("PREDICT SUM(order_items.«refund_amount, 0, 9, days)" + EACH, "table order_items has no column 'refund_amount'"),
    ("PREDICT SUM(orders.«channel, 0, 9, days)" + EACH, "orders.channel is a text; SUM takes numbers"),
    ("PREDICT AVG(order_items.«*, 0, 9, days)" + EACH, "only COUNT takes *; AVG needs a column"),
    ("PREDICT «SUMM(order_items.amount, 0, 9, days)" + EACH, "there is no function 'SUMM'; did you mean 'SUM'?"),
    (
        "PREDICT «STDDEV(order_items.amount, 0, 9, days)" + EACH,
        "there is no function 'STDDEV'; allowed here: SUM, COUNT",
    ),
    (
        "PREDICT «SUM(order_items.amount)" + EACH,
        "SUM has no window; give it one, for example SUM(order_items.amount, 0, 90, days)",
    ),
    ("PREDICT SUM(order_items.amount, 0, «9)" + EACH, "the window has no unit; write 0, 9, days"),
    ("PREDICT SUM(order_items.amount, «9)" + EACH, "a window is start, end, unit"),
    ("PREDICT SUM(order_items.amount, 0, 9, days, «4)" + EACH, "a window is start, end, unit"),
    ("PREDICT SUM(order_items.amount, 0, «days, 9)" + EACH, "a window is start, end, unit"),
    ("PREDICT SUM(order_items.amount, 0, 9, «dayz)" + EACH, "there is no unit 'dayz'; did you mean 'day'?"),
    ("PREDICT SUM(order_items.amount, 0, 9 «days)" + EACH, "'days' has no place here; expected ) or a comma"),
    ("PREDICT SUM(order_items.amount, 0, «1.5, months)" + EACH, "a window has whole numbers"),
    ("PREDICT SUM(order_items.amount, 9, «3, days)" + EACH, "the window must end after its start"),
    ("PREDICT SUM(order_items.amount, 3, «3, days)" + EACH, "the window must end after its start"),
    (
        "PREDICT SUM(order_items.amount, «-9, 0, days)" + EACH,
        "a label window lies after the cutoff, start >= 0.* leaks",
    ),
    ("PREDICT SUM(order_items.amount) OVER («-1, 9, days)" + EACH, "a label window lies after the cutoff"),
    (
        "PREDICT COUNT(orders.*, 0, 9, days)" + EACH + " WHERE COUNT(orders.*, -9, «9, days) > 0",
        "WHERE lies before the cutoff.* leaks",
    ),
    ("PREDICT COUNT(«products.*, 0, 9, days)" + EACH, "table products has no time; .*use orders, order_items"),
    ("PREDICT COUNT(«external.*, 0, 9, days)" + EACH, "table external has no custome"),
    ("PREDICT COUNT(«customers.*, 0, 9, days)" + EACH, "table customers is who is predicted"),
    ("PREDICT COUNT(orders.*, 0, 9, days)«", "the query ends here; expected .*FOR EACH customers.customer_id"),
    ("PREDICT COUNT(orders.*, 0, 9, days) «WHERE 1 = 1", "'WHERE' has no place here; expected .*FOR EACH"),
    (
        "PREDICT COUNT(orders.*, 0, 9, days) FOR EACH «orders.customer_id",
        "patron predicts for customers: FOR EACH customers.customer_id",
    ),
    ("PREDICT COUNT(orders.*, 0, 9, days) FOR EACH customers.«geo", "patron predicts for customers"),
    ("PREDICT COUNT(orders.*, 0, 9, days) FOR EACH customers«", "the query ends here; expected a dot and a column"),
    ("PREDICT COUNT(orders.*, 0, 9, days) FOR «customer", "FOR customer is for named targets"),
    ("PREDICT (COUNT(orders.*, 0, 9, days) «FOR EACH customers.customer_id", "'FOR' has no place here; expected )"),
    ("PREDICT COUNT(orders.*, 0, 9, days)«)" + EACH, "')' has no place here"),
    (
        "PREDICT COUNT(orders.*, 0, 9, days)" + EACH + " «LIMIT 5",
        "'LIMIT' has no place here; expected .*USING or WHERE",
    ),
    ("PREDICT COUNT(orders.*, 0, 9, days) «% 2" + EACH, "'%' has no place in a query"),
    ("PREDICT COUNT(orders.* WHERE orders.channel = «'web, 0, 9, days)" + EACH, "the text is not closed"),
    (
        "PREDICT «total_spent_12m FOR customer",
        "there is no named target 'total_spent_12m'; did you mean 'total_spend'?",
    ),
    ("PREDICT «revenue FOR customer", "there is no named target 'revenue'; allowed here: total_spend, net_spend"),
    (
        "PREDICT «total_spend_12q FOR customer",
        "total_spend_12q has no horizon; write total_spend_90d, or _13w, _12m, _1y",
    ),
    ("PREDICT «churn FOR customer", "churn has no horizon; write churn_90d"),
    ("PREDICT «churn_0d FOR customer", "churn_0d has no horizon"),
    (
        "PREDICT churn_90d FOR «EACH customers.customer_id",
        "the named target churn_90d has a population of its own: FOR customer",
    ),
    ("PREDICT «churn_101y FOR customer", "a horizon is of at most 100 years"),
    ("PREDICT SUM(order_items.amount, 0, «5300, weeks)" + EACH, "a window is of at most 100 years"),
    ("PREDICT «" + EACH.strip(), "'FOR' has no place here"),
    ("PREDICT SUM(amount«, 0, 9, days)" + EACH, "',' has no place here; expected a dot and a column"),
    ("PREDICT COUNT(orders.* WHERE orders.order_id = «5.5, 0, 9, days)" + EACH, "an id is a whole number or a text"),
    ("PREDICT churn_90d FOR «product", "write FOR EACH customers.customer_id, or FOR customer for a named target"),
    (
        "PREDICT churn_90d FOR customer WHERE «COUNT(orders.*, -9, 0, days) > 0",
        "a named target is for everybody who has ordered",
    ),
    ("PREDICT «churn_90d + 1" + EACH, "'churn_90d' means nothing here; write table.column"),
    (
        "PREDICT churn_90d FOR customer USING customer, «purchases",
        "there is nothing called 'purchases' to use; did you mean 'purchase'?",
    ),
    (
        "PREDICT 0 < COUNT(orders.*, 0, 9, days) «< 5" + EACH,
        "a comparison is of two values; join two comparisons with AND",
    ),
    (
        "PREDICT COUNT(orders.* WHERE orders.channel > «5, 0, 9, days)" + EACH,
        "a text cannot be compared with a numbe",
    ),
    ("PREDICT COUNT(orders.*, 0, 9, days) = «'five'" + EACH, "a number cannot be compared with a text"),
    (
        "PREDICT COUNT(orders.* WHERE orders.order_date > «'May', 0, 9, days)" + EACH,
        "this is no date; write it as '2020-12-31'",
    ),
    ("PREDICT COUNT(orders.* WHERE orders.order_id «> 5, 0, 9, days)" + EACH, "ids have no orde"),
    ("PREDICT COUNT(orders.*, 0, 9, days) «OVER (0, 5, days)" + EACH, "no aggregation needs this OVER"),
    (
        "PREDICT COUNT(orders.*, 0, 9, days)" + EACH + " WHERE «COUNT(orders.*, -9, 0, days)",
        "WHERE needs a comparison",
    ),
    ("PREDICT COUNT(orders.*, 0, 9, days)" + EACH + " WHERE «customers.geo", "WHERE needs a comparison"),
    (
        "PREDICT COUNT(orders.*, 0, 9, days)" + EACH + " WHERE 1 = 1 AND «customers.geo",
        "a text is no condition; compare it",
    ),
    (
        "PREDICT COUNT(orders.*, 0, 9, days)" + EACH + " WHERE «orders.channel = 'web'",
        "a customer has many orders; aggregate them",
    ),
    (
        "PREDICT COUNT(orders.* WHERE «orders.channel, 0, 9, days)" + EACH,
        "WHERE needs a comparison, for example order_items.quantity",
    ),
    ("PREDICT «customers.geo = 'north'" + EACH, "customers.geo is no aggregation; .*go into WHERE"),
    ("PREDICT «1 + 1" + EACH, "nothing is aggregated here"),
    ("PREDICT COUNT(orders.*, 0, 9, days) + «'x'" + EACH, "a text has no place in arithmetic"),
    (
        "PREDICT COUNT(orders.* WHERE «returns.refund_amount > 1, 0, 9, days)" + EACH,
        "orders does not refer to returns; allowed here: orders, customers",
    ),
    (
        "PREDICT COUNT(orders.* WHERE «COUNT(returns.*, 0, 9, days) > 1, 0, 9, days)" + EACH,
        "a filter is of single rows",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("marked", "message"), MISTAKES)
def test_mistakes_are_shown_where_they_stand(marked: str, message: str) -> None:
    text = marked.replace("«", "")
    with pytest.raises(PQLError, match=".*".join(map(re.escape, message.split(".*")))) as caught:
        compile(text)
    said, line, caret = str(caught.value).split("\n")
    assert "\n" not in said
    assert line == f"    {text}"
    assert caret == " " * (4 + marked.index("«")) + "^"


def test_a_mistake_of_a_query_of_several_lines_shows_its_line() -> None:
    with pytest.raises(PQLError) as caught:
        compile("PREDICT COUNT(orders.*, 0, 9, days)\n\tFOR EACH customers.id\nWHERE 1 = 1")
    assert str(caught.value).split("\n")[1:] == ["     FOR EACH customers.id", "                        ^"]
