-- One row an order known at the cutoff, in the order of its id.
WITH lines AS ({% include "lines.sql" %})
SELECT l.order_id, CAST(SUM(l.amount) AS DOUBLE) AS amount, CAST(SUM(l.quantity) AS DOUBLE) AS items, COUNT(*) AS lines,
       CAST(SUM(l.discount) AS DOUBLE) AS discount, MIN(l.age) AS age
FROM lines l GROUP BY l.order_id ORDER BY l.order_id
