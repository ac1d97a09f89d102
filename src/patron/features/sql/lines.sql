-- Every order line with its age at the cutoff; an order without items is one line of amount 0. Included by the other files.
SELECT o.customer_id, o.order_id, i.product_id, p.category_id,
       CAST(COALESCE(i.amount, 0) AS DECIMAL(18, 4)) AS amount,
       CAST(COALESCE(i.quantity, 0) AS DECIMAL(18, 4)) AS quantity,
       CAST(i.price AS DECIMAL(18, 4)) AS price,
       CAST(GREATEST(COALESCE(i.price * i.quantity - i.amount, 0), 0) AS DECIMAL(18, 4)) AS discount,
       CAST(DATE_DIFF('second', o.order_date, $cutoff) AS DOUBLE) / CAST(86400 AS DOUBLE) AS age
FROM orders o
LEFT JOIN order_items i ON i.order_id = o.order_id
LEFT JOIN products p ON p.product_id = i.product_id
