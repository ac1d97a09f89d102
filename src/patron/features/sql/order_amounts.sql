-- One row an order: the second before the cutoff, what was paid.
SELECT o.customer_id, o.order_id, DATE_DIFF('second', o.order_date, $cutoff) AS age,
       CAST(COALESCE(SUM(CAST(i.amount AS DECIMAL(18, 4))), 0) * 10000 AS BIGINT) AS amount
FROM orders o LEFT JOIN order_items i ON i.order_id = o.order_id
GROUP BY o.customer_id, o.order_id, o.order_date ORDER BY o.customer_id, age DESC, o.order_id
