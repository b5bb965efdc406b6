import { CLAIMED_CLASS, SETTINGS } from './0002-dispatch.ts'

/** Entries of the queue that are counted one by one; where there are more, a sample is. */
const COUNTED = 10_000
/** Rows of instance_count that are folded at a time. */
const FOLDED = 20_000
/** Blocks of a sample, 8 KiB each. */
const SAMPLED = 1000

/** Never edited once released: a change is a migration of its own. `{s}` is the schema. */
export const maintenance: string = `
-- Claims that are not in the queue: for ever, or of an instance that is paused.
CREATE INDEX work_held ON {s}.work (key) WHERE worker_id IS NOT NULL AND queue_class IS NULL;

-- Instances that ended so before a time, the first first. What ended otherwise, and may stay for ever, is not read.
CREATE FUNCTION {s}.ended(p_before bigint, p_statuses text[], p_limit integer) RETURNS SETOF text
LANGUAGE plpgsql ${SETTINGS} AS $$
BEGIN
  RETURN QUERY SELECT e.id FROM unnest(p_statuses) AS s (status)
    CROSS JOIN LATERAL (SELECT t.id, t.ended_at FROM {s}.work t
      WHERE t.status = s.status AND t.ended_at IS NOT NULL AND t.ended_at < p_before
      ORDER BY t.status, t.ended_at LIMIT p_limit) AS e
    ORDER BY e.ended_at LIMIT p_limit;
END $$;

-- Makes few rows of those that tell how many instances there are. Rows that are being folded are left alone.
CREATE FUNCTION {s}.fold_counts() RETURNS void LANGUAGE sql AS $$
  WITH folded AS (
    DELETE FROM {s}.instance_count c WHERE c.ctid = ANY (ARRAY(
      SELECT x.ctid FROM {s}.instance_count x LIMIT ${FOLDED} FOR UPDATE SKIP LOCKED))
    RETURNING c.status, c.instances)
  INSERT INTO {s}.instance_count (status, instances)
  SELECT f.status, sum(f.instances) FROM folded f GROUP BY f.status HAVING sum(f.instances) <> 0
$$;

-- How many tasks may run now, how many are claimed, and since when the oldest waits. What it costs
-- is bounded: it goes from class to class of the queue and counts a few thousand entries; of more
-- than that it looks at some blocks of the table, and the numbers are about right.
CREATE FUNCTION {s}.task_stats(OUT available bigint, OUT claimed bigint, OUT oldest_age bigint)
LANGUAGE plpgsql ${SETTINGS} AS $$
DECLARE
  v_now bigint := {s}.now_ms();
  v_oldest bigint;
  v_class bigint := 1;
  v_at bigint;
  v_left bigint := ${COUNTED};
  v_rows bigint;
  v_over bigint;
  v_over_since bigint;
  v_held bigint;
  v_blocks bigint;
BEGIN
  LOOP
    SELECT t.queue_class, t.queue_at INTO v_class, v_at FROM {s}.work t
    WHERE t.queue_class > v_class ORDER BY t.queue_class, t.queue_at LIMIT 1;
    EXIT WHEN NOT FOUND OR v_class = ${CLAIMED_CLASS};
    CONTINUE WHEN v_at > v_now;
    v_oldest := least(v_oldest, v_at);
    CONTINUE WHEN v_left = 0;
    SELECT count(*) INTO v_rows FROM (
      SELECT 1 FROM {s}.work t WHERE t.queue_class = v_class AND t.queue_at <= v_now LIMIT v_left) AS x;
    v_left := v_left - v_rows;
  END LOOP;
  -- Those whose claim has expired may run, and are moved when somebody looks for work.
  SELECT count(*), count(*) FILTER (WHERE x.expires_at > v_now),
    count(*) FILTER (WHERE x.expires_at <= v_now AND x.available_since <= v_now),
    min(x.available_since) FILTER (WHERE x.expires_at <= v_now AND x.available_since <= v_now)
  INTO v_rows, claimed, v_over, v_over_since FROM (
    SELECT t.expires_at, t.available_since FROM {s}.work t WHERE t.queue_class = ${CLAIMED_CLASS} LIMIT ${COUNTED}) AS x;
  SELECT count(*), count(*) FILTER (WHERE x.expires_at IS NULL OR x.expires_at > v_now)
  INTO v_held, v_at FROM (
    SELECT t.expires_at FROM {s}.work t WHERE t.worker_id IS NOT NULL AND t.queue_class IS NULL LIMIT ${COUNTED}) AS x;
  oldest_age := v_now - least(v_oldest, v_over_since);
  available := ${COUNTED} - v_left + v_over;
  claimed := claimed + v_at;
  IF v_left > 0 AND greatest(v_rows, v_held) < ${COUNTED} THEN RETURN; END IF;
  v_blocks := greatest(pg_relation_size('{s}.work') / current_setting('block_size')::bigint, ${SAMPLED});
  SELECT count(*) FILTER (WHERE CASE WHEN t.queue_class = ${CLAIMED_CLASS} THEN t.expires_at <= v_now AND t.available_since <= v_now
      ELSE t.queue_class > 1 AND t.queue_at <= v_now END) * v_blocks / ${SAMPLED},
    count(*) FILTER (WHERE t.worker_id IS NOT NULL AND (t.expires_at IS NULL OR t.expires_at > v_now)) * v_blocks / ${SAMPLED}
  INTO available, claimed
  FROM {s}.work t TABLESAMPLE SYSTEM (100.0 * ${SAMPLED} / v_blocks);
END $$;
`
