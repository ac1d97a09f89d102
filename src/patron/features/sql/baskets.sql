-- One row a customer with a product bought: variety by window, repeats, price moments, category mix.
-- A product counts in a window when its latest purchase does, so variety needs no DISTINCT per window.
WITH lines AS (SELECT * FROM ({% include "lines.sql" %}) WHERE product_id IS NOT NULL),
by_product AS (
    SELECT customer_id, product_id, MIN(age) AS age, COUNT(DISTINCT order_id) AS orders FROM lines GROUP BY customer_id, product_id
),
by_category AS (
    SELECT customer_id, category_id, MIN(age) AS age, CAST(SUM(amount) AS DOUBLE) AS amount
    FROM lines WHERE category_id IS NOT NULL GROUP BY customer_id, category_id
),
shares AS (
    SELECT customer_id, category_id, age, amount / NULLIF(SUM(CAST(amount AS DECIMAL(18, 4))) OVER (PARTITION BY customer_id), 0) AS share
    FROM by_category
),
products AS (
    SELECT customer_id, COUNT(*) AS products, COUNT(*) FILTER (WHERE orders > 1) AS products_repeated
{% for w in windows %}
           , COUNT(*) FILTER (WHERE age < {{ w }}) AS products_{{ w }}d
{% endfor %}
    FROM by_product GROUP BY customer_id
),
categories AS (
    SELECT customer_id, COUNT(*) AS categories, MAX(share) AS category_top_share,
           -CAST(SUM(CAST(CASE WHEN share > 0 THEN share * LN(share) ELSE 0 END AS DECIMAL(18, 12))) AS DOUBLE) AS category_entropy
{% for w in windows %}
           , COUNT(*) FILTER (WHERE age < {{ w }}) AS categories_{{ w }}d
{% endfor %}
    FROM shares GROUP BY customer_id
),
prices AS (
    SELECT customer_id, CAST(SUM(price) AS DOUBLE) / NULLIF(COUNT(price), 0) AS price_mean, MEDIAN(CAST(price AS DOUBLE)) AS price_median,
           CAST(MAX(price) AS DOUBLE) AS price_max, CAST(MIN(price) AS DOUBLE) AS price_min
    FROM lines GROUP BY customer_id
)
SELECT * FROM products LEFT JOIN categories USING (customer_id) LEFT JOIN prices USING (customer_id) ORDER BY customer_id
