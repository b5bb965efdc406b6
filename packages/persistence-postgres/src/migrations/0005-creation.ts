import { SETTINGS } from './0002-dispatch.ts'
import { count, countEach, READY } from './0003-changes.ts'

/** What a waiter x is told: its id, and in a second line the task if it is certain that it may have it. */
const TOLD = `x.id || chr(10) || CASE WHEN x.routes IS NULL OR p_class >> 27 = ANY (x.routes) THEN p_due_task ELSE '' END`

/** Never edited once released: a change is a migration of its own. `{s}` is the schema. */
export const creation: string = `
-- Makes a new instance that waits for a task that may run at once, in the fewest of statements: a third of what
-- a lone one costs create_plain. Settings cost too, and no plan here can be a bad one. The time, negative where
-- it was not made.
CREATE FUNCTION {s}.create_one(p_id text, p_generation uuid, p_at bigint, p_input text, p_head text,
  p_tolerance bigint, p_definition text, p_task text, p_class bigint, p_priority smallint, p_due_task text)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  v_now bigint := {s}.now_ms();
  v_waiters integer;
  v_told text;
BEGIN
  INSERT INTO {s}.work (key, generation, created_at, updated_at, version, revision, queued_events, has_events,
    id, definition_hash, status, initial_input, head, task_id, open, ready_class, available_since, priority,
    attempt, timer, deliveries, queue_class, queue_at)
  SELECT nextval('{s}.counter'), p_generation, p_at, p_at, 1, 1, 0, false, p_id, p_definition, 'in-progress',
    decode(nullif(p_input, '-'), 'hex'), p_head, p_task, true, p_class, p_at, p_priority, 1, false, 0, p_class, p_at
  WHERE abs(p_at - v_now) <= p_tolerance
  ON CONFLICT (id, slot, tie) DO NOTHING
  RETURNING (SELECT count(*) FROM (SELECT 1 FROM {s}.waiter x WHERE x.armed LIMIT 2) AS armed) INTO v_waiters;
  IF v_waiters IS NULL THEN RETURN -v_now; END IF;
  ${count("VALUES ('in-progress', 1)", 'v_now')}
  -- What wake does, in a third of its time where there is one to be told.
  IF v_waiters = 1 THEN
    UPDATE {s}.waiter x SET armed = false WHERE x.ctid = (SELECT y.ctid FROM {s}.waiter y
      WHERE y.armed AND y.until > v_now AND (y.routes IS NULL OR p_class >> 27 = ANY (y.routes) OR y.last_route < p_class >> 27)
      LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING pg_notify('{c}', ${TOLD})::text INTO v_told;
  ELSIF v_waiters > 1 THEN
    PERFORM {s}.wake(ARRAY[p_class >> 27], v_now, p_due_task);
  END IF;
  RETURN v_now;
END $$;

-- Makes new instances that wait for the same task of the same definition, as those that are made
-- together nearly always do, and no more: what create_instances can do too, at a higher price. Texts
-- of several values have chr(1) between them, which is cheaper to take apart than arrays or JSON;
-- p_inputs: all of them in base64, one after the other; p_sizes: the bytes of each, -1 for none. p_sizes,
-- p_at and p_heads: one stands for all, where all are alike.
-- The ids of those that were not made, in JSON.
CREATE FUNCTION {s}.create_plain(p_ids text, p_generations text, p_inputs text, p_sizes integer[],
  p_at bigint[], p_heads text, p_tolerance bigint, p_definition text, p_task text, p_class bigint, p_priority smallint, p_due_task text,
  OUT now_ms bigint, OUT failed text)
LANGUAGE plpgsql ${SETTINGS} AS $$
#variable_conflict use_column
DECLARE
  v_ids text[] := string_to_array(p_ids, chr(1));
  v_generations uuid[] := string_to_array(p_generations, chr(1))::uuid[];
  v_heads text[] := string_to_array(p_heads, chr(1));
  v_inputs bytea := decode(p_inputs, 'base64');
  v_starts integer[];
  v_count integer := cardinality(v_ids);
  v_made integer;
BEGIN
  IF cardinality(p_sizes) > 1 THEN
    v_starts := ARRAY(SELECT (sum(greatest(o.size, 0)) OVER (ORDER BY o.n) - greatest(o.size, 0))::integer
      FROM unnest(p_sizes) WITH ORDINALITY AS o (size, n));
  END IF;
  now_ms := {s}.now_ms();
  WITH made AS (
    INSERT INTO {s}.work AS i (key, generation, created_at, updated_at, version, revision, queued_events,
      has_events, id, definition_hash, status, initial_input, head, task_id, open, ready_class, available_since,
      priority, attempt, timer, deliveries, queue_class, queue_at)
    SELECT nextval('{s}.counter'), w.generation, w.at, w.at, 1, 1, 0, false,
      w.id, p_definition, 'in-progress', CASE WHEN w.size >= 0 THEN substring(v_inputs, w.start + 1, w.size) END,
      w.head, p_task, true, p_class, w.at, p_priority, 1, false, 0, p_class, w.at
    FROM (SELECT o.id, o.generation, coalesce(o.size, p_sizes[1]) AS size,
        coalesce(o.start, (o.n::integer - 1) * p_sizes[1]) AS start, coalesce(o.at, p_at[1]) AS at,
        coalesce(o.head, v_heads[1]) AS head
      FROM unnest(v_ids, v_generations, p_sizes, v_starts, p_at, v_heads)
        WITH ORDINALITY AS o (id, generation, size, start, at, head, n) OFFSET 0) AS w
    WHERE abs(w.at - now_ms) <= p_tolerance
      AND (SELECT true FROM {s}.work o WHERE o.id = w.id AND o.slot = 0 LIMIT 1) IS NULL
    RETURNING 1)
  SELECT count(*) INTO v_made FROM made;
  IF v_made > 0 THEN
    ${count("VALUES ('in-progress', v_made)", 'now_ms')}
  END IF;
  IF v_made < v_count THEN
    SELECT json_agg(w.id)::text INTO failed FROM unnest(v_ids, v_generations) AS w (id, generation)
    WHERE (SELECT true FROM {s}.work i
      WHERE i.id = w.id AND i.slot = 0 AND i.generation = w.generation LIMIT 1) IS NULL;
  END IF;
  IF EXISTS (SELECT 1 FROM {s}.waiter x WHERE x.armed) THEN
    PERFORM {s}.wake(ARRAY[p_class >> 27], now_ms, CASE WHEN v_made = v_count THEN p_due_task ELSE '' END);
  END IF;
END $$;

-- Makes new instances, each with the task that is next (m_), those of forks (t_), results (r_); w:
-- which of the instances, from 1. Of some parameters one element stands for all, where all are alike.
-- The numbers of those that were not made. p_due_task: one of the tasks as JSON, if all may run now,
-- else empty. One that somebody else makes at the same moment fails all, to be done again: finding it
-- out row by row (ON CONFLICT) would cost every row a lock and a record in the log.
CREATE FUNCTION {s}.create_instances(
  p_ids text[], p_generations uuid[], p_at bigint[], p_tolerances bigint[], p_definitions text[],
  p_statuses text[], p_ended bigint[], p_signals text[], p_heads text, p_inputs bytea[], p_finals bytea[],
  m_tasks text[], m_open boolean[], m_classes bigint[], m_sinces bigint[], m_priorities integer[],
  m_attempts bigint[], m_failers text[], m_inputs text[], m_timers boolean[],
  t_w integer[], t_slots integer[], t_tasks text[], t_open boolean[], t_classes bigint[], t_sinces bigint[],
  t_priorities integer[], t_attempts bigint[], t_failers text[], t_inputs text[], t_timers boolean[],
  r_w integer[], r_tasks text[], r_places bigint[], r_outputs bytea[], p_routes bigint[], p_due_task text,
  OUT now_ms bigint, OUT failed integer[])
LANGUAGE plpgsql ${SETTINGS} AS $$
#variable_conflict use_column
DECLARE
  v_count integer := cardinality(p_ids);
  v_made integer;
  v_keys bigint[];
BEGIN
  now_ms := {s}.now_ms();
  v_keys := ARRAY(SELECT nextval('{s}.counter') FROM generate_series(1, v_count));
  INSERT INTO {s}.work (key, generation, created_at, updated_at, ended_at, version, revision,
    queued_events, has_events, id, definition_hash, status, initial_input, final_output, signals, head,
    task_id, open, ready_class, available_since, priority, attempt, last_failed_worker, input_task_id, timer,
    deliveries, queue_class, queue_at)
  SELECT o.key, o.generation, coalesce(o.at, p_at[1]), coalesce(o.at, p_at[1]), nullif(o.ended, 0), 1, 1,
    0, false, o.id, coalesce(o.definition, p_definitions[1]), coalesce(o.status, p_statuses[1]), o.input,
    o.final, nullif(o.signals, ''), o.head,
    o.task, CASE WHEN o.task IS NOT NULL THEN coalesce(o.open, false) END, o.class, o.since, CASE WHEN o.task IS NOT NULL THEN coalesce(o.priority, 3) END,
    CASE WHEN o.task IS NOT NULL THEN coalesce(o.attempt, 1) END, o.failer, o.input_task,
    CASE WHEN o.task IS NOT NULL THEN coalesce(o.timer, false) END, CASE WHEN o.task IS NOT NULL THEN 0 END, ${READY}
  FROM unnest(v_keys, p_ids, p_generations, p_at, p_tolerances, p_definitions, p_statuses, p_ended,
    p_signals, string_to_array(p_heads, chr(1)), p_inputs, p_finals, m_tasks, m_open, m_classes, m_sinces,
    m_priorities, m_attempts, m_failers, m_inputs, m_timers)
    AS o (key, id, generation, at, tolerance, definition, status, ended, signals, head, input, final, task,
    open, class, since, priority, attempt, failer, input_task, timer)
  WHERE abs(coalesce(o.at, p_at[1]) - now_ms) <= coalesce(o.tolerance, p_tolerances[1])
    AND (SELECT true FROM {s}.work i WHERE i.id = o.id AND i.slot = 0 LIMIT 1) IS NULL;
  GET DIAGNOSTICS v_made = ROW_COUNT;
  IF v_made <> v_count THEN
    -- Of those that were not made nothing else is written either: their keys become null.
    v_keys := ARRAY(SELECT i.key FROM unnest(v_keys, p_ids) WITH ORDINALITY AS x (key, id, n)
      LEFT JOIN LATERAL (SELECT i.key FROM {s}.work i
        WHERE i.id = x.id AND i.slot = 0 AND i.key = x.key LIMIT 1) AS i ON true ORDER BY x.n);
    failed := ARRAY(SELECT x.n::integer FROM unnest(v_keys) WITH ORDINALITY AS x (key, n) WHERE x.key IS NULL);
    IF v_made = 0 THEN RETURN; END IF;
  END IF;
  IF v_made = v_count AND cardinality(p_statuses) = 1 THEN
    ${count('VALUES (p_statuses[1], v_count)', 'now_ms')}
  ELSE
    ${countEach(
      `SELECT coalesce(w.status, p_statuses[1]) AS status, 1 AS difference
      FROM unnest(v_keys, p_statuses) AS w (key, status) WHERE w.key IS NOT NULL`,
      'now_ms',
    )}
  END IF;
  IF cardinality(t_w) > 0 THEN
    INSERT INTO {s}.work (key, slot, id, tie, task_id, open, ready_class, available_since,
      priority, attempt, last_failed_worker, input_task_id, timer, deliveries, queue_class, queue_at)
    SELECT v_keys[o.w], o.slot, p_ids[o.w], o.task, o.task, coalesce(o.open, false), o.class, o.since,
      coalesce(o.priority, 3), coalesce(o.attempt, 1), o.failer, o.input, coalesce(o.timer, false), 0, ${READY}
    FROM unnest(t_w, t_slots, t_tasks, t_open, t_classes, t_sinces, t_priorities, t_attempts, t_failers,
      t_inputs, t_timers)
      AS o (w, slot, task, open, class, since, priority, attempt, failer, input, timer)
    WHERE v_keys[o.w] IS NOT NULL;
  END IF;
  IF cardinality(p_routes) > 0 THEN
    PERFORM {s}.wake(p_routes, now_ms, CASE WHEN v_made = v_count THEN p_due_task ELSE '' END);
  END IF;
  IF cardinality(r_w) > 0 THEN
    INSERT INTO {s}.result (instance_key, task_id, place, output)
    SELECT v_keys[r.w], r.task, r.place, r.output
    FROM unnest(r_w, r_tasks, r_places, r_outputs) AS r (w, task, place, output)
    WHERE v_keys[r.w] IS NOT NULL;
  END IF;
END $$;
`
