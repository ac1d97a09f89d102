-- Events of one table by customer and type, of the types asked for: number, in windows (cutoff - w, cutoff], age of the latest.
WITH aged AS (
{% if table == "order_events" %}
    SELECT o.customer_id, e.event_type AS type,
           CAST(DATE_DIFF('second', e.event_date, $cutoff) AS DOUBLE) / CAST(86400 AS DOUBLE) AS age,
           DATE_DIFF('second', o.order_date, e.event_date) AS delay
    FROM order_events e JOIN orders o ON o.order_id = e.order_id
{% else %}
    SELECT customer_id, {{ column }} AS type,
           CAST(DATE_DIFF('second', {{ time }}, $cutoff) AS DOUBLE) / CAST(86400 AS DOUBLE) AS age, 0 AS delay
    FROM {{ table }}
{% endif %}
)
SELECT a.customer_id, a.type, COUNT(*) AS number, MIN(a.age) AS recency,
       CAST(SUM(a.delay) AS DOUBLE) / CAST(86400 AS DOUBLE) / COUNT(*) AS delay
{% for w in windows %}
       , COUNT(*) FILTER (WHERE a.age < {{ w }}) AS number_{{ w }}d
{% endfor %}
FROM aged a JOIN wanted w ON w.type = a.type GROUP BY a.customer_id, a.type ORDER BY a.customer_id, a.type
