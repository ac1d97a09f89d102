-- One row a product (or category, by `key`) sold by the cutoff: popularity, loyalty, price, trend.
WITH lines AS ({% include "lines.sql" %}),
keyed AS (SELECT *, {{ key }} AS key FROM lines WHERE {{ key }} IS NOT NULL),
buyers AS (
    SELECT key, customer_id, COUNT(DISTINCT order_id) AS orders, MIN(age) AS age FROM keyed GROUP BY key, customer_id
),
by_buyers AS (
    SELECT key, COUNT(*) AS buyers, COUNT(*) FILTER (WHERE orders > 1) AS buyers_repeated,
           COUNT(*) FILTER (WHERE age < {{ horizon_days }}) AS buyers_recent
    FROM buyers GROUP BY key
)
SELECT key AS {{ key }}, b.buyers, b.buyers_repeated, b.buyers_recent, t.*
FROM by_buyers b JOIN (
    SELECT key, COUNT(DISTINCT order_id) AS orders, CAST(SUM(quantity) AS DOUBLE) AS quantity, CAST(SUM(amount) AS DOUBLE) AS revenue,
           MIN(age) AS last_sold, MAX(age) AS first_sold,
           MEDIAN(CAST(price AS DOUBLE)) AS price_median,
           CAST(SUM(amount) AS DOUBLE) / NULLIF(CAST(SUM(quantity) AS DOUBLE), 0) AS amount_per_unit,
           CAST(SUM(discount) AS DOUBLE) / NULLIF(CAST(SUM(amount + discount) AS DOUBLE), 0) AS discount_share,
           COALESCE(CAST(SUM(amount) FILTER (WHERE age < {{ horizon_days }}) AS DOUBLE), 0) AS revenue_recent,
           COALESCE(CAST(SUM(amount) FILTER (WHERE age >= {{ horizon_days }} AND age < 2 * {{ horizon_days }}) AS DOUBLE), 0) AS revenue_before
    FROM keyed GROUP BY key
) t USING (key)
ORDER BY key
