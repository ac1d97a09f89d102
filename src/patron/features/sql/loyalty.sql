-- One row a member: each row of the table is a state from its date on. The latest level and points that are known count.
WITH aged AS (
    SELECT *, CAST(DATE_DIFF('second', loyalty_date, $cutoff) AS DOUBLE) / CAST(86400 AS DOUBLE) AS age,
           ROW_NUMBER() OVER (PARTITION BY customer_id ORDER BY loyalty_date, loyalty_id) AS nth
    FROM loyalty
)
SELECT customer_id, COUNT(*) AS loyalty_changes, MIN(age) AS loyalty_recency, MAX(age) AS loyalty_tenure,
       MAX_BY(membership_level, nth) FILTER (WHERE membership_level IS NOT NULL) AS loyalty_level,
       MAX_BY(loyalty_points, nth) FILTER (WHERE loyalty_points IS NOT NULL) AS loyalty_points,
       CAST(SUM(CAST(points_earned AS DECIMAL(18, 4))) AS DOUBLE) AS loyalty_earned,
       CAST(SUM(CAST(points_redeemed AS DECIMAL(18, 4))) AS DOUBLE) AS loyalty_redeemed
{% for w in windows %}
       , CAST(SUM(CAST(points_earned AS DECIMAL(18, 4))) FILTER (WHERE age < {{ w }}) AS DOUBLE) AS loyalty_earned_{{ w }}d
       , CAST(SUM(CAST(points_redeemed AS DECIMAL(18, 4))) FILTER (WHERE age < {{ w }}) AS DOUBLE) AS loyalty_redeemed_{{ w }}d
{% endfor %}
FROM aged GROUP BY customer_id ORDER BY customer_id
