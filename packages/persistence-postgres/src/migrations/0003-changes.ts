import { CLAIMED_CLASS, SETTINGS } from './0002-dispatch.ts'

/** Of so many times that instances are counted, the rows that they left are made few in one. */
const FOLD_EVERY = 512

/**
 * Notes by how many the instances of each status changed.
 *
 * @param rows Statuses and numbers.
 */
export const count = (
  rows: string,
  now: string,
): string => `INSERT INTO {s}.instance_count (status, instances) ${rows};
    IF ${now} % ${FOLD_EVERY} = 0 THEN PERFORM {s}.fold_counts(); END IF;`
/** The same of single differences d. */
export const countEach = (differences: string, now: string): string =>
  count(
    `SELECT d.status, sum(d.difference) FROM (${differences}) AS d
      GROUP BY d.status HAVING sum(d.difference) <> 0`,
    now,
  )

/** Where a task belongs in the queue that nobody has claimed. */
export const READY: string = `CASE WHEN o.open THEN o.class END, CASE WHEN o.open THEN o.since END`

/** What of a row is its task's: all null where there is none. */
export const NO_TASK: string = `task_id = NULL, queue_class = NULL, queue_at = NULL, ready_class = NULL, available_since = NULL,
        token = NULL, claimed_at = NULL, expires_at = NULL, attempt = NULL, deliveries = NULL, priority = NULL,
        open = NULL, timer = NULL, input_task_id = NULL, last_failed_worker = NULL, worker_id = NULL`

/** Whether a task t is held as o says. */
const HELD = `(o.worker = '' OR t.worker_id = o.worker AND (o.token = 0 OR t.token = o.token))`

/**
 * With the rows of tasks that a change o says something of. A plan may be of when the tables were
 * empty, and is kept: written so, it can be no other than a seek for each. The rows in slot 0 are
 * locked, that of an instance being among those that changed; of others it is looked again.
 */
const ITS_TASK = `CROSS JOIN LATERAL (SELECT t.ctid AS tid, t.slot AS own_slot, t.token AS own_token, t.key FROM {s}.work t
        WHERE t.id = p_ids[o.w] AND t.slot = coalesce(o.old_slot, 0) AND t.task_id = o.task LIMIT 1) AS h`

/** Never edited once released: a change is a migration of its own. `{s}` is the schema. */
export const changes: string = `
-- Changes instances that are there still as they were read. Of each (p_): what is compared, what it
-- becomes. t_: what becomes of its tasks; kinds: 0 removed, 1 another takes its place, 2 new,
-- 3 moved, 4 only its claim must be held, 5 moved to another slot; flags: 1 committed, 2 claimed at once, 4 its claim is
-- given up. r_: results; places: -1 removed, -2 only what is remembered of the commit.
-- First row: the numbers of those that were refused, and of those whose next task is their own with
-- its token; then the other tasks that were claimed.
CREATE FUNCTION {s}.change_instances(
  p_ids text[], p_generations uuid[], p_versions bigint[], p_at bigint[], p_tolerances bigint[],
  p_hold_tasks text[], p_hold_slots integer[], p_hold_workers text[], p_hold_tokens bigint[],
  p_definitions text[], p_revisions bigint[], p_updated bigint[], p_old_statuses text[], p_statuses text[],
  p_open boolean[], p_ended boolean[], p_signals text[], p_queued integer[], p_has_events boolean[],
  p_heads text, p_sets_input boolean[], p_inputs bytea[], p_finals bytea[], p_kinds integer[],
  t_w integer[], t_kinds integer[], t_flags integer[], t_old_tasks text[], t_old_slots integer[],
  t_workers text[], t_tokens bigint[], t_slots integer[], t_tasks text[], t_classes bigint[],
  t_sinces bigint[], t_priorities integer[], t_attempts bigint[], t_failers text[], t_inputs text[],
  t_timers boolean[], t_ttls bigint[],
  r_w integer[], r_tasks text[], r_places bigint[], r_outputs bytea[], r_workers text[], r_tokens bigint[],
  p_all_removed integer[], p_toggled integer[], p_signalled integer[], p_unsignalled integer[],
  e_w integer[], e_signals text[], e_ids text[], e_payloads bytea[], x_w integer[], x_signals text[],
  n_w integer[], n_own text[], n_slots integer[], n_workers text[], n_marks bigint[], n_ttls bigint[],
  n_filters text[], n_groups integer[], p_aging bigint, p_routes bigint[], p_careful boolean)
RETURNS TABLE (now_ms bigint, failed integer[], own integer[], own_tokens bigint[], own_deliveries integer[],
  due text[], n integer, taken text)
LANGUAGE plpgsql ${SETTINGS} AS $$
#variable_conflict use_column
DECLARE
  v_now bigint := {s}.now_ms();
  v_count integer := cardinality(p_ids);
  v_numbers integer[];
  v_keys bigint[];
  v_found bigint[];
  v_all boolean := true;
  v_has_events boolean;
  v_expected integer;
  v_rows integer;
  v_failed integer[];
  v_lost_keys bigint[];
  v_lost_tasks text[];
  v_lost_tokens bigint[];
  v_own integer[] := '{}';
  v_own_tokens bigint[] := '{}';
  v_own_deliveries integer[] := '{}';
  v_next_ids text[];
  v_next_tasks text[];
  v_next_tokens bigint[];
  v_takers integer[];
  v_texts text[];
  v_taken record;
  v_done boolean[];
  v_asking integer[];
BEGIN
  WITH changed AS (
    UPDATE {s}.work i SET version = i.version + 1, revision = w.revision, updated_at = w.updated,
      ended_at = CASE WHEN w.ended THEN w.updated END, definition_hash = coalesce(w.definition, i.definition_hash), status = w.status,
      signals = nullif(w.signals, ''), queued_events = coalesce(w.queued, 0),
      has_events = i.has_events OR coalesce(w.has_events, false),
      head = w.head, final_output = w.final,
      initial_input = CASE WHEN w.sets_input THEN w.input ELSE i.initial_input END
    FROM unnest(p_ids, p_generations, p_versions, p_at, p_tolerances, p_hold_tasks, p_hold_slots,
      p_hold_workers, p_hold_tokens, p_definitions, p_revisions, p_updated, p_statuses, p_ended, p_signals,
      p_queued, p_has_events, string_to_array(p_heads, chr(1)), p_sets_input, p_inputs, p_finals)
      WITH ORDINALITY AS w (id, generation, version, at, tolerance, hold_task, hold_slot, hold_worker,
      hold_token, definition, revision, updated, status, ended, signals, queued, has_events, head,
      sets_input, input, final, n)
    -- Said twice, so that whatever the plan is, it looks for these only.
    WHERE i.id = ANY (p_ids) AND i.id = w.id AND i.slot = 0 AND i.generation = w.generation AND i.version = w.version
      AND abs(w.at - v_now) <= w.tolerance
      AND (NOT p_careful OR w.hold_task = '' OR coalesce((SELECT true FROM {s}.work t
        WHERE t.id = w.id AND t.slot IN (0, w.hold_slot) AND t.task_id = w.hold_task
          AND t.worker_id = w.hold_worker AND (w.hold_token = 0 OR t.token = w.hold_token) LIMIT 1), false))
    RETURNING w.n, i.key, i.has_events AND w.ended AS has_events)
  SELECT array_agg(n::integer), array_agg(key), bool_or(has_events) INTO v_numbers, v_found, v_has_events FROM changed;
  v_keys := array_fill(NULL::bigint, ARRAY[v_count]);
  IF v_numbers IS NOT NULL THEN
    FOR v_rows IN 1..cardinality(v_numbers) LOOP
      v_keys[v_numbers[v_rows]] := v_found[v_rows];
    END LOOP;
  END IF;
  IF cardinality(v_numbers) IS DISTINCT FROM v_count THEN
    v_all := false;
    v_failed := ARRAY(SELECT x.n::integer FROM unnest(v_keys) WITH ORDINALITY AS x (k, n) WHERE k IS NULL);
    -- Null keys would make reading an element slow; no instance has this one.
    v_keys := ARRAY(SELECT coalesce(k, 0) FROM unnest(v_keys) WITH ORDINALITY AS x (k, n) ORDER BY x.n);
    p_kinds := ARRAY(SELECT (count(*) FILTER (WHERE v_keys[o.w] <> 0))::integer FROM generate_series(0, 5) AS kinds (kind)
      LEFT JOIN unnest(t_w, t_kinds) AS o (w, kind) ON o.kind = kinds.kind GROUP BY kinds.kind ORDER BY kinds.kind);
  END IF;
  IF v_numbers IS NULL THEN
    now_ms := v_now;
    failed := v_failed;
    RETURN NEXT;
    RETURN;
  END IF;
  IF cardinality(p_old_statuses) > 0 THEN
    ${countEach(
      `SELECT w.status, 1 AS difference FROM unnest(v_keys, p_statuses, p_old_statuses) AS w (k, status, old)
      WHERE k <> 0 AND w.status <> w.old
      UNION ALL SELECT w.old, -1 FROM unnest(v_keys, p_statuses, p_old_statuses) AS w (k, status, old)
      WHERE k <> 0 AND w.status <> w.old`,
      'v_now',
    )}
  END IF;

  -- Tasks. That a claim is held was seen above; a row less than there must be means that it has
  -- changed hands since: then all is undone, and done again.
  IF p_kinds[1] > 0 THEN
    WITH o AS MATERIALIZED (
      SELECT o.*, h.* FROM unnest(t_w, t_kinds, t_flags, t_old_tasks, t_old_slots, t_workers, t_tokens)
        AS o (w, kind, flags, task, old_slot, worker, token) ${ITS_TASK}
      WHERE o.kind = 0 AND v_keys[o.w] <> 0),
    cleared AS (
      UPDATE {s}.work t SET ${NO_TASK}
      FROM o WHERE o.own_slot = 0 AND t.ctid = o.tid AND ${HELD}
      RETURNING o.key, o.task, o.own_token, coalesce(o.flags, 0) & 1 = 0 AND o.own_token IS NOT NULL AS lost),
    deleted AS (
      DELETE FROM {s}.work t USING o WHERE o.own_slot > 0 AND t.ctid = o.tid AND ${HELD}
      RETURNING o.key, o.task, t.token, coalesce(o.flags, 0) & 1 = 0 AND t.token IS NOT NULL AS lost)
    SELECT count(*), array_agg(g.key) FILTER (WHERE g.lost), array_agg(g.task) FILTER (WHERE g.lost),
      array_agg(g.own_token) FILTER (WHERE g.lost)
    INTO v_rows, v_lost_keys, v_lost_tasks, v_lost_tokens
    FROM (SELECT * FROM cleared UNION ALL SELECT * FROM deleted) AS g;
    IF v_rows <> p_kinds[1] THEN PERFORM {s}.again(); END IF;
  END IF;
  -- A task that becomes one of a fork, or was one: its claim goes along to another row.
  IF p_kinds[6] > 0 THEN
    v_rows := 0;
    FOR v_taken IN
      SELECT o.w, o.slot, p_open[o.w] AS open, o.class, o.since, coalesce(o.priority, 3) AS priority,
        coalesce(o.attempt, 1) AS attempt, o.failer, o.input, coalesce(o.timer, false) AS timer, o.task,
        CASE WHEN coalesce(o.flags, 0) & 4 = 0 THEN t.worker_id END AS worker, t.token, t.claimed_at,
        t.expires_at, t.deliveries, h.tid, h.own_slot, h.key
      FROM unnest(t_w, t_kinds, t_flags, t_old_tasks, t_old_slots, t_workers, t_tokens, t_slots,
        t_classes, t_sinces, t_priorities, t_attempts, t_failers, t_inputs, t_timers)
        AS o (w, kind, flags, task, old_slot, worker, token, slot, class, since, priority,
        attempt, failer, input, timer) ${ITS_TASK}
      CROSS JOIN LATERAL (SELECT t.* FROM {s}.work t WHERE t.ctid = h.tid AND ${HELD} FOR UPDATE) AS t
      WHERE o.kind = 5 AND v_keys[o.w] <> 0
    LOOP
      v_rows := v_rows + 1;
      IF v_taken.own_slot = 0 THEN
        UPDATE {s}.work t SET ${NO_TASK} WHERE t.ctid = v_taken.tid;
      ELSE
        DELETE FROM {s}.work t WHERE t.ctid = v_taken.tid;
      END IF;
      IF coalesce(v_taken.slot, 0) > 0 THEN
        INSERT INTO {s}.work (key, id, slot, tie, task_id, open, ready_class, available_since, priority, attempt,
          last_failed_worker, input_task_id, timer, deliveries, worker_id, token, claimed_at, expires_at)
        VALUES (v_taken.key, p_ids[v_taken.w], v_taken.slot, v_taken.task, v_taken.task, v_taken.open,
          v_taken.class, v_taken.since, v_taken.priority, v_taken.attempt, v_taken.failer, v_taken.input,
          v_taken.timer, v_taken.deliveries, v_taken.worker, v_taken.token, v_taken.claimed_at, v_taken.expires_at);
      ELSE
        UPDATE {s}.work t SET task_id = v_taken.task, open = v_taken.open, ready_class = v_taken.class,
          available_since = v_taken.since, priority = v_taken.priority, attempt = v_taken.attempt,
          last_failed_worker = v_taken.failer, input_task_id = v_taken.input, timer = v_taken.timer,
          deliveries = v_taken.deliveries, worker_id = v_taken.worker, token = v_taken.token,
          claimed_at = v_taken.claimed_at, expires_at = v_taken.expires_at
        WHERE t.id = p_ids[v_taken.w] AND t.slot = 0;
      END IF;
      UPDATE {s}.work t SET
        queue_class = CASE WHEN NOT t.open THEN NULL WHEN t.worker_id IS NULL THEN t.ready_class
          WHEN t.expires_at IS NULL THEN NULL ELSE ${CLAIMED_CLASS} END,
        queue_at = CASE WHEN NOT t.open THEN NULL WHEN t.worker_id IS NULL THEN t.available_since
          ELSE t.expires_at END
      WHERE t.id = p_ids[v_taken.w] AND t.slot = coalesce(v_taken.slot, 0) AND t.task_id = v_taken.task;
    END LOOP;
    IF v_rows <> p_kinds[6] THEN PERFORM {s}.again(); END IF;
  END IF;
  IF p_kinds[2] > 0 THEN
    IF EXISTS (SELECT 1 FROM unnest(t_kinds, t_flags) AS o (kind, flags) WHERE o.kind = 1 AND coalesce(o.flags, 0) & 1 = 0) THEN
      SELECT v_lost_keys || array_agg(h.key), v_lost_tasks || array_agg(o.task),
        v_lost_tokens || array_agg(h.own_token)
      INTO v_lost_keys, v_lost_tasks, v_lost_tokens
      FROM unnest(t_w, t_kinds, t_flags, t_old_tasks, t_old_slots) AS o (w, kind, flags, task, old_slot) ${ITS_TASK}
      WHERE o.kind = 1 AND v_keys[o.w] <> 0 AND coalesce(o.flags, 0) & 1 = 0 AND h.own_token IS NOT NULL;
    END IF;
    WITH replaced AS (
      UPDATE {s}.work t SET task_id = coalesce(o.new_task, ''), tie = CASE WHEN t.slot = 0 THEN '' ELSE coalesce(o.new_task, '') END,
        open = p_open[o.w], ready_class = o.class,
        available_since = o.since, priority = coalesce(o.priority, 3), attempt = coalesce(o.attempt, 1),
        last_failed_worker = o.failer, input_task_id = o.input, timer = coalesce(o.timer, false),
        queue_class = CASE WHEN NOT p_open[o.w] THEN NULL WHEN NOT o.claims THEN o.class
          WHEN o.expiry IS NULL THEN NULL ELSE ${CLAIMED_CLASS} END,
        queue_at = CASE WHEN NOT p_open[o.w] THEN NULL WHEN NOT o.claims THEN o.since
          -- Left where it is, if it is early enough: a step then changes no index.
          WHEN t.queue_class = ${CLAIMED_CLASS} THEN least(t.queue_at, o.expiry) ELSE o.expiry END,
        deliveries = CASE WHEN o.claims THEN 1 ELSE 0 END,
        worker_id = CASE WHEN o.claims THEN o.worker END,
        token = CASE WHEN o.claims THEN nextval('{s}.counter') END,
        claimed_at = CASE WHEN o.claims THEN v_now END,
        expires_at = CASE WHEN o.claims THEN o.expiry END
      FROM (
        SELECT o.*, h.tid, coalesce(o.flags, 0) & 2 = 2 AND p_open[o.w] AND o.since <= v_now AS claims,
          CASE WHEN o.ttl >= 0 THEN least(v_now + o.ttl, 253402300799999) END AS expiry
        FROM unnest(t_w, t_kinds, t_flags, t_old_tasks, t_old_slots, t_workers, t_tokens, t_tasks,
          t_classes, t_sinces, t_priorities, t_attempts, t_failers, t_inputs, t_timers, t_ttls)
          AS o (w, kind, flags, task, old_slot, worker, token, new_task, class, since, priority,
          attempt, failer, input, timer, ttl) ${ITS_TASK}
        WHERE o.kind = 1 AND v_keys[o.w] <> 0) AS o
      WHERE t.ctid = o.tid AND ${HELD}
      RETURNING o.w, t.token)
    SELECT count(*), coalesce(array_agg(w) FILTER (WHERE token IS NOT NULL), '{}'),
      coalesce(array_agg(token) FILTER (WHERE token IS NOT NULL), '{}')
    INTO v_rows, v_own, v_own_tokens FROM replaced;
    IF v_rows <> p_kinds[2] THEN PERFORM {s}.again(); END IF;
    v_own_deliveries := array_fill(1, ARRAY[cardinality(v_own)]);
  END IF;
  IF p_kinds[3] > 0 THEN
    -- That of an instance without a fork is in the instance's own row.
    UPDATE {s}.work t SET task_id = coalesce(o.task, ''), open = o.open, ready_class = o.class,
      available_since = o.since, priority = coalesce(o.priority, 3), attempt = coalesce(o.attempt, 1),
      last_failed_worker = o.failer, input_task_id = o.input, timer = coalesce(o.timer, false), deliveries = 0,
      queue_class = CASE WHEN o.open THEN o.class END, queue_at = CASE WHEN o.open THEN o.since END
    FROM (SELECT x.*, p_open[x.w] AS open, h.tid
      FROM unnest(t_w, t_kinds, t_slots, t_tasks, t_classes, t_sinces, t_priorities, t_attempts, t_failers,
        t_inputs, t_timers)
        AS x (w, kind, slot, task, class, since, priority, attempt, failer, input, timer)
      CROSS JOIN LATERAL (SELECT t.ctid AS tid FROM {s}.work t WHERE t.id = p_ids[x.w] AND t.slot = 0 LIMIT 1) AS h
      WHERE x.kind = 2 AND coalesce(x.slot, 0) = 0 AND v_keys[x.w] <> 0) AS o
    WHERE t.ctid = o.tid;
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    IF v_rows < p_kinds[3] THEN
      INSERT INTO {s}.work (key, slot, id, tie, task_id, open, ready_class, available_since,
        priority, attempt, last_failed_worker, input_task_id, timer, deliveries, queue_class, queue_at)
      SELECT v_keys[o.w], o.slot, p_ids[o.w], coalesce(o.task, ''), coalesce(o.task, ''), o.open, o.class, o.since,
        coalesce(o.priority, 3), coalesce(o.attempt, 1), o.failer, o.input, coalesce(o.timer, false), 0, ${READY}
      FROM (SELECT x.*, p_open[x.w] AS open
        FROM unnest(t_w, t_kinds, t_slots, t_tasks, t_classes, t_sinces, t_priorities, t_attempts, t_failers,
          t_inputs, t_timers)
          AS x (w, kind, slot, task, class, since, priority, attempt, failer, input, timer)
        WHERE x.kind = 2 AND x.slot > 0) AS o
      WHERE v_keys[o.w] <> 0;
    END IF;
  END IF;
  IF p_kinds[4] > 0 THEN
    UPDATE {s}.work t SET open = p_open[o.w], ready_class = o.class,
      available_since = o.since, priority = coalesce(o.priority, 3), attempt = coalesce(o.attempt, 1),
      last_failed_worker = o.failer, input_task_id = o.input, timer = coalesce(o.timer, false),
      worker_id = CASE WHEN coalesce(o.flags, 0) & 4 = 0 THEN t.worker_id END,
      queue_class = CASE WHEN NOT p_open[o.w] THEN NULL
        WHEN coalesce(o.flags, 0) & 4 = 4 OR t.worker_id IS NULL THEN o.class
        WHEN t.expires_at IS NULL THEN NULL ELSE ${CLAIMED_CLASS} END,
      queue_at = CASE WHEN NOT p_open[o.w] THEN NULL
        WHEN coalesce(o.flags, 0) & 4 = 4 OR t.worker_id IS NULL THEN o.since
        WHEN t.queue_class = ${CLAIMED_CLASS} THEN t.queue_at ELSE t.expires_at END
    FROM (SELECT o.*, h.tid FROM unnest(t_w, t_kinds, t_flags, t_old_tasks, t_old_slots, t_workers, t_tokens,
        t_classes, t_sinces, t_priorities, t_attempts, t_failers, t_inputs, t_timers)
        AS o (w, kind, flags, task, old_slot, worker, token, class, since, priority,
        attempt, failer, input, timer) ${ITS_TASK}
      WHERE o.kind = 3 AND v_keys[o.w] <> 0) AS o
    WHERE t.ctid = o.tid AND ${HELD};
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    IF v_rows <> p_kinds[4] THEN PERFORM {s}.again(); END IF;
  END IF;
  IF p_kinds[5] > 0 THEN
    SELECT count(*) INTO v_rows FROM unnest(t_w, t_kinds, t_old_tasks, t_old_slots, t_workers, t_tokens)
      AS o (w, kind, task, slot, worker, token)
    CROSS JOIN LATERAL (SELECT 1 FROM {s}.work t
      WHERE t.id = p_ids[o.w] AND t.slot = coalesce(o.slot, 0) AND t.task_id = o.task
        AND t.worker_id = o.worker AND (o.token = 0 OR t.token = o.token) FOR UPDATE) AS x
    WHERE o.kind = 4 AND v_keys[o.w] <> 0;
    IF v_rows <> p_kinds[5] THEN PERFORM {s}.again(); END IF;
  END IF;
  IF cardinality(p_toggled) > 0 THEN
    -- An instance that opens or closes: all of its tasks, also those that nothing else was said of.
    UPDATE {s}.work t SET open = p_open[o.w],
      queue_class = CASE WHEN NOT p_open[o.w] THEN NULL WHEN t.worker_id IS NULL THEN t.ready_class
        WHEN t.expires_at IS NULL THEN NULL ELSE ${CLAIMED_CLASS} END,
      queue_at = CASE WHEN NOT p_open[o.w] THEN NULL WHEN t.worker_id IS NULL THEN t.available_since
        ELSE t.expires_at END
    FROM unnest(p_toggled) AS o (w)
    WHERE t.id = ANY (p_ids) AND t.id = p_ids[o.w] AND v_keys[o.w] <> 0
      AND t.slot < 2147483647 AND t.task_id IS NOT NULL AND t.open <> p_open[o.w];
  END IF;
  IF cardinality(p_signalled) > 0 THEN
    INSERT INTO {s}.work AS t (key, slot, id, task_id, open, ready_class, available_since,
      priority, attempt, timer, deliveries, queue_class, queue_at)
    SELECT v_keys[o.w], 2147483647, p_ids[o.w], '', false, 1, 0, 0, 0, false, 0, 1, 0
    FROM unnest(p_signalled) AS o (w) WHERE v_keys[o.w] <> 0
    ON CONFLICT (id, slot, tie) DO UPDATE SET queue_at = 0;
  END IF;
  IF cardinality(p_unsignalled) > 0 THEN
    DELETE FROM {s}.work t USING unnest(p_unsignalled) AS o (w)
    WHERE t.id = ANY (p_ids) AND t.id = p_ids[o.w] AND v_keys[o.w] <> 0 AND t.slot = 2147483647;
  END IF;

  -- Events.
  IF v_has_events THEN
    DELETE FROM {s}.event e USING unnest(v_keys, p_ended) AS w (k, ended)
    WHERE w.ended AND e.instance_key = w.k;
  END IF;
  IF cardinality(x_w) > 0 THEN
    FOR v_taken IN SELECT v_keys[x.w] AS key, x.signal FROM unnest(x_w, x_signals) AS x (w, signal)
      WHERE v_keys[x.w] <> 0
    LOOP
      PERFORM {s}.pop_event(v_taken.key, v_taken.signal);
    END LOOP;
  END IF;
  IF cardinality(e_w) > 0 THEN
    INSERT INTO {s}.event (id, instance_key, signal_name, event_id, payload)
    SELECT nextval('{s}.counter'), v_keys[e.w], e.signal, e.id, e.payload
    FROM unnest(e_w, e_signals, e_ids, e_payloads) AS e (w, signal, id, payload)
    WHERE v_keys[e.w] <> 0;
  END IF;

  -- What comes next.
  IF cardinality(n_w) > 0 THEN
    v_next_ids := array_fill(NULL::text, ARRAY[v_count]);
    v_next_tasks := v_next_ids;
    v_next_tokens := array_fill(NULL::bigint, ARRAY[v_count]);
    v_done := array_fill(false, ARRAY[v_count]);
    FOR v_rows IN 1..cardinality(v_own) LOOP
      v_done[v_own[v_rows]] := true;
      v_next_tokens[v_own[v_rows]] := v_own_tokens[v_rows];
    END LOOP;
    FOR v_rows IN 1..cardinality(n_w) LOOP
      CONTINUE WHEN v_keys[n_w[v_rows]] = 0;
      IF v_done[n_w[v_rows]] THEN
        v_next_ids[n_w[v_rows]] := p_ids[n_w[v_rows]];
        v_next_tasks[n_w[v_rows]] := n_own[v_rows];
        CONTINUE;
      END IF;
      IF n_own[v_rows] <> '' AND p_open[n_w[v_rows]] THEN
        UPDATE {s}.work t SET worker_id = n_workers[v_rows], token = nextval('{s}.counter'),
          claimed_at = v_now, expires_at = CASE WHEN n_ttls[v_rows] >= 0 THEN least(v_now + n_ttls[v_rows], 253402300799999) END,
          queue_class = CASE WHEN n_ttls[v_rows] >= 0 THEN ${CLAIMED_CLASS} END,
          queue_at = CASE WHEN n_ttls[v_rows] >= 0 THEN least(v_now + n_ttls[v_rows], 253402300799999) END,
          deliveries = t.deliveries + 1
        WHERE t.id = p_ids[n_w[v_rows]] AND t.slot = n_slots[v_rows] AND t.task_id = n_own[v_rows]
          AND t.available_since <= v_now AND (t.worker_id IS NULL OR t.expires_at <= v_now)
        RETURNING t.token, t.deliveries INTO v_taken;
        IF FOUND THEN
          v_own := v_own || n_w[v_rows];
          v_own_tokens := v_own_tokens || v_taken.token;
          v_own_deliveries := v_own_deliveries || v_taken.deliveries;
          v_next_ids[n_w[v_rows]] := p_ids[n_w[v_rows]];
          v_next_tasks[n_w[v_rows]] := n_own[v_rows];
          v_next_tokens[n_w[v_rows]] := v_taken.token;
          CONTINUE;
        END IF;
      END IF;
      v_done[n_w[v_rows]] := NULL;
    END LOOP;
    -- Those that ask for the same, together.
    FOR v_group IN 1..coalesce((SELECT max(g) FROM unnest(n_groups) AS g), 0) LOOP
      v_asking := ARRAY(SELECT x.w FROM unnest(n_w, n_groups) AS x (w, g)
        WHERE x.g = v_group AND v_done[x.w] IS NULL);
      CONTINUE WHEN cardinality(v_asking) = 0;
      v_rows := array_position(n_groups, v_group);
      v_expected := 0;
      FOR v_taken IN SELECT * FROM {s}.take(n_workers[v_rows], n_marks[v_rows], n_ttls[v_rows],
        cardinality(v_asking), n_filters[v_rows], p_aging, v_now, false, NULL)
      LOOP
        v_expected := v_expected + 1;
        v_next_ids[v_asking[v_expected]] := v_taken.instance_id;
        v_next_tasks[v_asking[v_expected]] := v_taken.task_id;
        v_next_tokens[v_asking[v_expected]] := v_taken.token;
        v_takers := v_takers || v_asking[v_expected];
        v_texts := v_texts || v_taken.taken;
      END LOOP;
    END LOOP;
  END IF;

  -- Results, and what is remembered of commits.
  IF v_lost_keys IS NOT NULL THEN
    UPDATE {s}.result r SET token = NULL, worker_id = NULL
    FROM unnest(v_lost_keys, v_lost_tasks, v_lost_tokens) AS l (key, task, token)
    WHERE r.instance_key = l.key AND r.task_id = l.task
      AND l.token > greatest(r.token, r.next_token);
  END IF;
  IF cardinality(p_all_removed) > 0 THEN
    UPDATE {s}.result r SET output = NULL, place = NULL FROM unnest(p_all_removed) AS o (w)
    WHERE r.instance_key = v_keys[o.w] AND r.token IS NOT NULL;
    DELETE FROM {s}.result r USING unnest(p_all_removed) AS o (w)
    WHERE r.instance_key = v_keys[o.w] AND r.token IS NULL;
  END IF;
  IF -1 = ANY (r_places) THEN
    UPDATE {s}.result r SET output = NULL, place = NULL FROM unnest(r_w, r_tasks, r_places) AS o (w, task, place)
    WHERE o.place = -1 AND r.instance_key = v_keys[o.w] AND r.task_id = o.task;
  END IF;
  IF cardinality(r_w) > 0 THEN
    INSERT INTO {s}.result AS r (instance_key, task_id, place, output, worker_id, token, revision, status,
      next_instance_id, next_task_id, next_token)
    SELECT v_keys[o.w], o.task, CASE WHEN o.place >= 0 THEN o.place END, o.output, nullif(o.worker, ''),
      nullif(o.token, 0), CASE WHEN o.token > 0 THEN p_revisions[o.w] END,
      CASE WHEN o.token > 0 THEN p_statuses[o.w] END, v_next_ids[o.w], v_next_tasks[o.w], v_next_tokens[o.w]
    FROM unnest(r_w, r_tasks, r_places, r_outputs, r_workers, r_tokens)
      AS o (w, task, place, output, worker, token)
    WHERE o.place <> -1 AND v_keys[o.w] <> 0
    ON CONFLICT (instance_key, task_id) DO UPDATE SET
      place = CASE WHEN excluded.place IS NULL THEN r.place ELSE excluded.place END,
      output = CASE WHEN excluded.place IS NULL THEN r.output ELSE excluded.output END,
      worker_id = CASE WHEN excluded.token IS NULL THEN r.worker_id ELSE excluded.worker_id END,
      token = CASE WHEN excluded.token IS NULL THEN r.token ELSE excluded.token END,
      revision = CASE WHEN excluded.token IS NULL THEN r.revision ELSE excluded.revision END,
      status = CASE WHEN excluded.token IS NULL THEN r.status ELSE excluded.status END,
      next_instance_id = CASE WHEN excluded.token IS NULL THEN r.next_instance_id ELSE excluded.next_instance_id END,
      next_task_id = CASE WHEN excluded.token IS NULL THEN r.next_task_id ELSE excluded.next_task_id END,
      next_token = CASE WHEN excluded.token IS NULL THEN r.next_token ELSE excluded.next_token END;
  END IF;

  now_ms := v_now;
  failed := v_failed;
  own := v_own;
  own_tokens := v_own_tokens;
  own_deliveries := v_own_deliveries;
  IF cardinality(n_w) > 0 THEN due := {s}.due_instances(v_now); END IF;
  IF cardinality(p_routes) > 0 THEN PERFORM {s}.wake(p_routes, v_now); END IF;
  RETURN NEXT;
  -- In this order: tasks of a fork that follow each other come with their instance once.
  IF v_takers IS NOT NULL THEN
    RETURN QUERY SELECT NULL::bigint, NULL::integer[], NULL::integer[], NULL::bigint[], NULL::integer[],
      NULL::text[], f.n, f.taken FROM unnest(v_takers, v_texts) AS f (n, taken);
  END IF;
END $$;

CREATE FUNCTION {s}.again() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'a claim has changed hands meanwhile' USING ERRCODE = 'serialization_failure';
END $$;

-- Takes the oldest event of a signal away; an id that it had stays known.
CREATE FUNCTION {s}.pop_event(p_key bigint, p_signal text, OUT payload bytea) LANGUAGE plpgsql AS $$
DECLARE
  v_id bigint;
  v_event_id text;
BEGIN
  SELECT e.id, e.event_id, e.payload INTO v_id, v_event_id, payload FROM {s}.event e
  WHERE e.instance_key = p_key AND e.signal_name = p_signal AND e.payload IS NOT NULL
  ORDER BY e.id LIMIT 1;
  IF v_event_id IS NULL THEN
    DELETE FROM {s}.event e WHERE e.instance_key = p_key AND e.signal_name = p_signal AND e.id = v_id;
  ELSE
    UPDATE {s}.event e SET payload = NULL
    WHERE e.instance_key = p_key AND e.signal_name = p_signal AND e.id = v_id;
  END IF;
END $$;

-- The oldest event of a signal, taken, with a version of the instance of its own.
CREATE FUNCTION {s}.take_event(p_id text, p_signal text, OUT payload bytea)
LANGUAGE plpgsql ${SETTINGS} AS $$
DECLARE
  v_key bigint;
BEGIN
  SELECT i.key INTO v_key FROM {s}.work i
  WHERE i.id = p_id AND i.slot = 0 AND i.queued_events > 0 FOR UPDATE;
  IF NOT FOUND THEN RETURN; END IF;
  payload := {s}.pop_event(v_key, p_signal);
  IF payload IS NULL THEN RETURN; END IF;
  UPDATE {s}.work i SET version = i.version + 1, queued_events = i.queued_events - 1
  WHERE i.id = p_id AND i.slot = 0;
END $$;

-- Deletes instances by their ids; those that were there.
CREATE FUNCTION {s}.delete_instances(p_ids text[], p_ended_before bigint, OUT deleted integer)
LANGUAGE plpgsql ${SETTINGS} AS $$
DECLARE
  v_keys bigint[];
  v_ids text[];
  v_statuses text[];
BEGIN
  WITH gone AS (
    DELETE FROM {s}.work i USING (SELECT x.id FROM unnest(p_ids) AS x (id) ORDER BY x.id) AS d
    WHERE i.id = ANY (p_ids) AND i.id = d.id AND i.slot = 0 AND (p_ended_before IS NULL OR i.ended_at < p_ended_before)
    RETURNING i.key, i.id, i.status)
  SELECT array_agg(g.key), array_agg(g.id), array_agg(g.status) INTO v_keys, v_ids, v_statuses FROM gone g;
  deleted := coalesce(cardinality(v_keys), 0);
  IF deleted = 0 THEN RETURN; END IF;
  DELETE FROM {s}.work t WHERE t.id = ANY (v_ids);
  DELETE FROM {s}.result r USING unnest(v_keys) AS d (key) WHERE r.instance_key = d.key;
  DELETE FROM {s}.event e USING unnest(v_keys) AS d (key) WHERE e.instance_key = d.key;
  ${countEach('SELECT s.status, -1 AS difference FROM unnest(v_statuses) AS s (status)', '{s}.now_ms()')}
END $$;
`
