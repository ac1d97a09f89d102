-- Spend of each customer in each of the categories asked for.
WITH lines AS ({% include "lines.sql" %})
SELECT l.customer_id, l.category_id, CAST(SUM(l.amount) AS DOUBLE) AS amount
FROM lines l JOIN wanted w ON w.category_id = l.category_id
GROUP BY l.customer_id, l.category_id ORDER BY l.customer_id, l.category_id
