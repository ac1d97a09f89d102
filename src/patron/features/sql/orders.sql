-- One row a customer with an order: recency, frequency, monetary value, gaps, windows (cutoff - w, cutoff], lagged windows.
-- An amount is squared as DECIMAL(19, 4) * DECIMAL(18, 4): DuckDB overflows in fewer digits, Spark rounds in more.
WITH lines AS ({% include "lines.sql" %}),
per_order AS (
    SELECT customer_id, order_id, MIN(age) AS age, SUM(amount) AS amount, SUM(quantity) AS items, SUM(discount) AS discount, COUNT(*) AS lines
    FROM lines GROUP BY customer_id, order_id
),
sequenced AS (
    SELECT *, CAST(FLOOR(age) AS BIGINT) AS day,
           ROW_NUMBER() OVER (PARTITION BY customer_id ORDER BY age, order_id) AS from_last,
           ROW_NUMBER() OVER (PARTITION BY customer_id ORDER BY age DESC, order_id DESC) AS from_first,
           CAST(ROUND((LAG(age) OVER (PARTITION BY customer_id ORDER BY age DESC, order_id DESC) - age) * 1440) AS BIGINT) AS gap_minutes
    FROM per_order
)
SELECT customer_id,
       MIN(age) AS recency, MAX(age) AS tenure, COUNT(*) AS orders, COUNT(DISTINCT day) AS days_active,
       CAST(SUM(amount) AS DOUBLE) AS spend, CAST(SUM(items) AS DOUBLE) AS items, CAST(SUM(lines) AS DOUBLE) AS lines,
       CAST(SUM(discount) AS DOUBLE) AS discount,
       CAST(SUM(CAST(amount AS DECIMAL(19, 4)) * CAST(amount AS DECIMAL(18, 4))) AS DOUBLE) AS spend_squared, CAST(MAX(amount) AS DOUBLE) AS amount_max,
       CAST(MAX(amount) FILTER (WHERE from_last = 1) AS DOUBLE) AS amount_last,
       CAST(MAX(amount) FILTER (WHERE from_last = 2) AS DOUBLE) AS amount_second_last,
       CAST(MAX(amount) FILTER (WHERE from_first = 1) AS DOUBLE) AS amount_first,
       CAST(SUM(gap_minutes) AS DOUBLE) / CAST(1440 AS DOUBLE) AS gap_sum,
       CAST(SUM(gap_minutes * gap_minutes) AS DOUBLE) / CAST(2073600 AS DOUBLE) AS gap_squared,
       CAST(MAX(gap_minutes) AS DOUBLE) / CAST(1440 AS DOUBLE) AS gap_max,
       CAST(MAX(gap_minutes) FILTER (WHERE from_last = 1) AS DOUBLE) / CAST(1440 AS DOUBLE) AS gap_last
{% for w in windows %}
       , COUNT(*) FILTER (WHERE age < {{ w }}) AS orders_{{ w }}d
       , COALESCE(CAST(SUM(amount) FILTER (WHERE age < {{ w }}) AS DOUBLE), 0) AS spend_{{ w }}d
       , COALESCE(CAST(SUM(items) FILTER (WHERE age < {{ w }}) AS DOUBLE), 0) AS items_{{ w }}d
       , COALESCE(CAST(SUM(discount) FILTER (WHERE age < {{ w }}) AS DOUBLE), 0) AS discount_{{ w }}d
{% endfor %}
{% for name, start, end in past_windows %}
       , COALESCE(CAST(SUM(amount) FILTER (WHERE age >= {{ end }} AND age < {{ start }}) AS DOUBLE), 0) AS {{ name }}
{% endfor %}
FROM sequenced GROUP BY customer_id ORDER BY customer_id
