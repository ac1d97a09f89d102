-- One row a customer with a return known at the cutoff.
WITH aged AS (
    SELECT customer_id, CAST(refund_amount AS DECIMAL(18, 4)) AS refund,
           CAST(DATE_DIFF('second', return_date, $cutoff) AS DOUBLE) / CAST(86400 AS DOUBLE) AS age
    FROM returns
)
SELECT customer_id, COUNT(*) AS returns, CAST(SUM(refund) AS DOUBLE) AS refund, MIN(age) AS return_recency
{% for w in windows %}
       , COUNT(*) FILTER (WHERE age < {{ w }}) AS returns_{{ w }}d
       , COALESCE(CAST(SUM(refund) FILTER (WHERE age < {{ w }}) AS DOUBLE), 0) AS refund_{{ w }}d
{% endfor %}
{% for name, start, end in past_windows %}
       , COALESCE(CAST(SUM(refund) FILTER (WHERE age >= {{ end }} AND age < {{ start }}) AS DOUBLE), 0) AS refund_{{ name }}
{% endfor %}
FROM aged GROUP BY customer_id ORDER BY customer_id
