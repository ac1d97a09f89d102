-- Each series at the cutoff: its last value, and the mean over the year before. Two values of one day count as the higher.
WITH daily AS (SELECT series, date, MAX(value) AS value FROM external GROUP BY series, date)
SELECT series, MAX_BY(value, date) AS value,
       CAST(SUM(CAST(value AS DECIMAL(18, 4))) FILTER (WHERE DATE_DIFF('second', date, $cutoff) < 365 * 86400) AS DOUBLE)
       / NULLIF(COUNT(value) FILTER (WHERE DATE_DIFF('second', date, $cutoff) < 365 * 86400), 0) AS mean
FROM daily GROUP BY series ORDER BY series
