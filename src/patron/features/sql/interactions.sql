-- One row a customer with an interaction known at the cutoff.
WITH aged AS (
    SELECT customer_id, CAST(DATE_DIFF('second', interaction_date, $cutoff) AS DOUBLE) / CAST(86400 AS DOUBLE) AS age
    FROM interactions
)
SELECT customer_id, COUNT(*) AS interactions, MIN(age) AS interaction_recency
{% for w in windows %}
       , COUNT(*) FILTER (WHERE age < {{ w }}) AS interactions_{{ w }}d
{% endfor %}
FROM aged GROUP BY customer_id ORDER BY customer_id
