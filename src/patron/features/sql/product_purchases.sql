-- One row a customer, product and order: the second of the order before the cutoff, what was paid for the product.
SELECT o.customer_id, i.product_id, o.order_id, DATE_DIFF('second', o.order_date, $cutoff) AS age,
       CAST(SUM(CAST(i.amount AS DECIMAL(18, 4))) * 10000 AS BIGINT) AS amount
FROM orders o JOIN order_items i ON i.order_id = o.order_id WHERE i.product_id IS NOT NULL
GROUP BY o.customer_id, i.product_id, o.order_id, o.order_date
ORDER BY o.customer_id, i.product_id, age DESC, o.order_id
