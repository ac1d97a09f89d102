-- One row a customer touched by a campaign that had started at the cutoff.
WITH aged AS (
    SELECT customer_id, campaign_response,
           CAST(DATE_DIFF('second', campaign_date, $cutoff) AS DOUBLE) / CAST(86400 AS DOUBLE) AS age
    FROM campaigns
)
SELECT customer_id, COUNT(*) AS campaigns, MIN(age) AS campaign_recency,
       COUNT(*) FILTER (WHERE campaign_response > 0) AS campaign_responses, COUNT(campaign_response) AS campaign_answers_known,
       MIN(age) FILTER (WHERE campaign_response > 0) AS campaign_response_recency
{% for w in windows %}
       , COUNT(*) FILTER (WHERE age < {{ w }}) AS campaigns_{{ w }}d
{% endfor %}
FROM aged GROUP BY customer_id ORDER BY customer_id
