/** Settings of every function: their plans must not depend on how large the tables happened to be. */
export const SETTINGS: string = `SET jit = off SET plan_cache_mode = force_generic_plan
  SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off`

/** As many as a function needs that joins nothing: each takes a lone call some microseconds. */
const FEW_SETTINGS: string = `SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
  SET enable_bitmapscan = off`

/** The class of the queue of tasks that are claimed: after all others, so that what is before a class and what is after it are a range each. */
export const CLAIMED_CLASS: string = String(2n ** 62n)

/** A task's dispatch entry as JSON, in the order in which records.ts reads it. */
const ENTRY = `json_build_array(t.task_id, t.priority, t.attempt, t.last_failed_worker, t.available_since,
  t.input_task_id, t.deliveries, t.timer, t.worker_id, t.token, t.claimed_at, t.expires_at)`

/** The numbers of an instance i. */
const NUMBERS = `concat_ws(' ', i.generation, i.version, i.revision, i.created_at, i.updated_at, i.queued_events)`

/** What records.ts reads of an instance i; payloads in hexadecimal, whatever bytea_output is. */
const INSTANCE = `${NUMBERS}, i.definition_hash, i.signals, i.head, encode(i.initial_input, 'hex'),
  encode(i.final_output, 'hex')`

/** Whether there is anything for `due_instances`: each class of its own, since most may be far from due. */
export const isDue = (
  now: string,
): string => `(EXISTS (SELECT 1 FROM {s}.work t WHERE t.queue_class = 0 AND t.queue_at <= ${now})
    OR EXISTS (SELECT 1 FROM {s}.work t WHERE t.queue_class = 1 AND t.queue_at <= ${now}))`

/**
 * What the queue has: a timer or signal, when to look for an expired claim, and, since as a rule there
 * is one class of tasks, the last class. It is looked for from its end, because at the front lie entries
 * of what was claimed. One statement, since preparing several costs more.
 */
export const PROBE: string = `SELECT
      (SELECT t.queue_class FROM {s}.work t WHERE t.queue_class < 2 ORDER BY t.queue_class, t.queue_at LIMIT 1),
      (SELECT t.queue_at FROM {s}.work t WHERE t.queue_class = ${CLAIMED_CLASS} ORDER BY t.queue_class, t.queue_at LIMIT 1),
      (SELECT t.queue_class FROM {s}.work t WHERE t.queue_class > 1 AND t.queue_class < ${CLAIMED_CLASS}
        ORDER BY t.queue_class DESC, t.queue_at DESC LIMIT 1)
    INTO v_special, v_over, v_class;`
/** Whether it shows that there is no timer or signal, and that no claim has expired. */
export const isQuiet = (now: string): string =>
  `(v_special IS NULL AND coalesce(v_over > ${now}, true))`

/** Then FOUND tells whether there is another class than the last one. */
const OTHER_CLASS =
  'PERFORM 1 FROM {s}.work t WHERE t.queue_class > 1 AND t.queue_class < v_class LIMIT 1;'

/** What a claim makes of a task t. */
const CLAIMED = `queue_class = CASE WHEN v_expiry IS NULL THEN NULL ELSE ${CLAIMED_CLASS} END,
          queue_at = v_expiry, worker_id = p_worker, token = nextval('{s}.counter'),
          claimed_at = p_now, expires_at = v_expiry, deliveries = t.deliveries + 1`

/** The same where it is not for ever. */
const CLAIMED_FOR_A_TIME = `queue_class = ${CLAIMED_CLASS}, queue_at = least(p_now + p_ttl, 253402300799999),
    worker_id = p_worker, token = nextval('{s}.counter'), claimed_at = p_now,
    expires_at = least(p_now + p_ttl, 253402300799999), deliveries = t.deliveries + 1`

/** The output that is the input of a task. */
const INPUT = `CASE WHEN t.input_task_id IS NOT NULL THEN (SELECT encode(r.output, 'hex') FROM {s}.result r
          WHERE r.instance_key = t.key AND r.task_id = t.input_task_id) END`

/**
 * A claimed task t and its instance as JSON, as taken-rows.ts reads it, where they are the same row:
 * then it is open, so there is neither a signal nor a final output, and the rest is the entry's.
 */
const taken = ({ before = '', input = INPUT } = {}): string =>
  `json_build_array(${before}t.token, t.deliveries, t.id, t.task_id, NULL, ${input},
          t.generation, t.definition_hash, NULL, t.head, encode(t.initial_input, 'hex'), NULL,
          t.priority, t.attempt, t.last_failed_worker, t.available_since, t.input_task_id, t.timer,
          t.version, t.revision, t.created_at, t.updated_at, t.queued_events)::text`

/** The same of a task of a fork. */
const TAKEN_OF_FORK = `SELECT json_build_array(t.token, t.deliveries, t.id, t.task_id, {s}.entries(t.id), ${INPUT},
          ${INSTANCE})::text
        FROM {s}.work t CROSS JOIN LATERAL (SELECT i.* FROM {s}.work i WHERE i.id = t.id AND i.slot = 0 LIMIT 1) AS i`

/** The same after another one of that fork. */
const TAKEN_AGAIN = `SELECT json_build_array(t.token, t.deliveries, t.id, t.task_id, NULL, ${INPUT}, NULL)::text
        FROM {s}.work t`

/** The columns of an instance, where those of its row x are not all there, from its row i in slot 0. */
const INSTANCE_OF_BOTH = `CASE WHEN x.slot = 0 THEN ${NUMBERS.replaceAll('i.', 'x.')}
          WHEN i.id IS NOT NULL THEN ${NUMBERS} END, coalesce(x.definition_hash, i.definition_hash),
        coalesce(x.signals, i.signals), coalesce(x.head, i.head),
        encode(coalesce(x.initial_input, i.initial_input), 'hex'), encode(coalesce(x.final_output, i.final_output), 'hex')`

/** The first tasks of a class that are due and nobody is at, best first, locked; null where there are none. */
const locked = (limit: string): string =>
  `SELECT array_agg(x.tid), bool_or(x.slot > 0) INTO v_tids, v_has_forks FROM (
          SELECT t.ctid AS tid, t.slot FROM {s}.work t WHERE t.queue_class = v_class AND t.queue_at <= p_now
          ORDER BY t.queue_at, t.key, t.tie LIMIT ${limit} FOR UPDATE SKIP LOCKED) AS x;`

/** Claims them, in their order. */
const CLAIM_LOCKED = `UPDATE {s}.work t SET ${CLAIMED}
          FROM unnest(v_tids) AS best (tid) WHERE t.ctid = best.tid`

/** Parameters between the worker and its own, of a function that is asked where the queue has not one class. */
const REST = (ttl: string): string => `split_part(p_rest, ' ', 1)::bigint, ${ttl},
    substr(p_rest, length(split_part(p_rest, ' ', 1)) + length(split_part(p_rest, ' ', 2)) + 3),
    split_part(p_rest, ' ', 2)::bigint`

/** Until when a claim t lasts that is prolonged as r says. */
const EXPIRY = `CASE WHEN t.expires_at IS NULL THEN NULL ELSE least(
  CASE r.kind WHEN 1 THEN greatest(t.expires_at, v_now) ELSE v_now END + r.ms, 253402300799999) END`

/** Never edited once released: a change is a migration of its own. `{s}` is the schema. */
export const dispatch: string = `
CREATE FUNCTION {s}.now_ms() RETURNS bigint LANGUAGE sql VOLATILE
AS $$ SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint $$;

-- Which route a task is on, made if it is new.
CREATE FUNCTION {s}.route_of(p_definition_hash text, p_tags text[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  v_digest text := md5(array_to_json(p_tags)::text);
  v_id bigint;
BEGIN
  LOOP
    SELECT r.id INTO v_id FROM {s}.route r
    WHERE r.definition_hash = p_definition_hash AND r.tags_digest = v_digest;
    IF FOUND THEN RETURN v_id; END IF;
    INSERT INTO {s}.route (definition_hash, tags, tags_digest)
    VALUES (p_definition_hash, p_tags, v_digest) ON CONFLICT DO NOTHING;
  END LOOP;
END $$;

-- Routes that a worker serves; null: all. The filter is JSON: d, the definitions, t, the tags.
CREATE FUNCTION {s}.served(p_filter jsonb) RETURNS bigint[] LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN p_filter IS NULL THEN NULL ELSE ARRAY(
    SELECT r.id FROM {s}.route r
    WHERE (p_filter->'d' IS NULL OR r.definition_hash IN (SELECT jsonb_array_elements_text(p_filter->'d')))
      AND (p_filter->'t' IS NULL OR r.tags <@ ARRAY(SELECT jsonb_array_elements_text(p_filter->'t')))
    ORDER BY r.id) END
$$;

-- The classes of the queue in which a task that the worker serves is due: one seek for each class.
-- Claims that have expired are put back first. next_at: when to look again.
CREATE FUNCTION {s}.due_classes(p_mark bigint, p_filter text, p_now bigint,
  OUT others bigint[], OUT own bigint[], OUT next_at bigint) LANGUAGE plpgsql AS $$
DECLARE
  v_served bigint[] := CASE WHEN p_filter <> '' THEN {s}.served(p_filter::jsonb) END;
  v_class bigint := 1;
  v_at bigint;
  v_route bigint;
  v_moved integer;
BEGIN
  others := '{}';
  own := '{}';
  LOOP
    SELECT t.queue_at INTO next_at FROM {s}.work t
    WHERE t.queue_class = ${CLAIMED_CLASS} ORDER BY t.queue_class, t.queue_at LIMIT 1;
    EXIT WHEN coalesce(next_at > p_now, true);
    WITH over AS MATERIALIZED (
      SELECT t.ctid AS tid FROM {s}.work t WHERE t.queue_class = ${CLAIMED_CLASS} AND t.queue_at <= p_now
      ORDER BY t.queue_at LIMIT 1000 FOR UPDATE SKIP LOCKED)
    UPDATE {s}.work t SET
      queue_class = CASE WHEN t.expires_at <= p_now THEN t.ready_class ELSE ${CLAIMED_CLASS} END,
      queue_at = CASE WHEN t.expires_at <= p_now THEN t.available_since ELSE t.expires_at END
    FROM over WHERE t.ctid = over.tid;
    GET DIAGNOSTICS v_moved = ROW_COUNT;
    IF v_moved = 0 THEN
      -- Somebody else is at them.
      next_at := NULL;
      EXIT;
    END IF;
  END LOOP;
  LOOP
    SELECT t.queue_class, t.queue_at INTO v_class, v_at FROM {s}.work t
    WHERE t.queue_class > v_class ORDER BY t.queue_class, t.queue_at LIMIT 1;
    EXIT WHEN NOT FOUND;
    EXIT WHEN v_class = ${CLAIMED_CLASS};
    v_route := v_class >> 27;
    IF v_served IS NULL OR v_route = ANY (v_served) THEN
      IF v_at > p_now THEN
        next_at := least(next_at, v_at);
      ELSIF (v_class & 16777215) = p_mark AND p_mark > 0 THEN
        own := own || v_class;
      ELSE
        others := others || v_class;
      END IF;
    ELSE
      SELECT min(s) INTO v_route FROM unnest(v_served) s WHERE s > v_route;
      EXIT WHEN v_route IS NULL;
      v_class := (v_route << 27) - 1;
    END IF;
  END LOOP;
END $$;

-- Claims the best due tasks, best first: taken has them as JSON, for those of a fork that follow each
-- other with their instance but once. p_quiet: it is known that no claim has expired, and p_class is the
-- last class of the queue. To prepare a statement for running costs more than to run it, the more so the
-- more there is in it: so a value for each row is faster than columns.
CREATE FUNCTION {s}.take(p_worker text, p_mark bigint, p_ttl bigint, p_limit integer, p_filter text,
  p_aging bigint, p_now bigint, p_quiet boolean, p_class bigint)
RETURNS TABLE (slot integer, token bigint, instance_id text, task_id text, taken text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_expiry bigint := CASE WHEN p_ttl < 0 THEN NULL ELSE least(p_now + p_ttl, 253402300799999) END;
  v_due record;
  v_classes bigint[];
  v_left integer := p_limit;
  v_want integer;
  v_found integer;
  v_class bigint;
  v_tids tid[];
  v_has_forks boolean;
  v_row record;
  v_last bigint;
BEGIN
  IF p_filter = '' AND p_quiet THEN
    IF p_class IS NULL THEN RETURN; END IF;
    v_class := p_class;
    ${OTHER_CLASS}
    IF NOT FOUND THEN
      v_classes := ARRAY[v_class];
    END IF;
  END IF;
  IF v_classes IS NULL THEN
    SELECT * INTO v_due FROM {s}.due_classes(p_mark, p_filter, p_now);
  END IF;
  FOR v_round IN 1..2 LOOP
    -- What this worker failed itself comes after all else.
    IF v_classes IS NULL OR v_round = 2 THEN
      EXIT WHEN v_due IS NULL;
      v_classes := CASE v_round WHEN 1 THEN v_due.others ELSE v_due.own END;
    END IF;
    CONTINUE WHEN v_left = 0 OR cardinality(v_classes) = 0;
    v_want := v_left;
    LOOP
      IF cardinality(v_classes) = 1 THEN
        v_class := v_classes[1];
        ${locked('v_left')}
        IF NOT v_has_forks THEN
          RETURN QUERY ${CLAIM_LOCKED}
            RETURNING t.slot, t.token, t.id, t.task_id, ${taken()};
          v_left := v_left - cardinality(v_tids);
          EXIT;
        END IF;
        v_found := 0;
      ELSE
        -- Others may be at the best ones: then further ones are looked at.
        SELECT count(*) INTO v_found FROM (
          SELECT 1 FROM unnest(v_classes) AS c CROSS JOIN LATERAL (
            SELECT 1 FROM {s}.work t WHERE t.queue_class = c AND t.queue_at <= p_now
            ORDER BY t.queue_at LIMIT v_want) AS x LIMIT v_want) AS y;
        v_tids := ARRAY(
          WITH best AS MATERIALIZED (
            SELECT x.tid, c AS class FROM unnest(v_classes) AS c CROSS JOIN LATERAL (
              SELECT t.ctid AS tid, t.queue_at, t.key, t.tie FROM {s}.work t
              WHERE t.queue_class = c AND t.queue_at <= p_now
              ORDER BY t.queue_at, t.key, t.tie LIMIT v_want) AS x
            ORDER BY x.queue_at + ((c >> 24) & 7) * p_aging, x.queue_at, x.key, x.tie
            LIMIT v_want)
          SELECT x.tid FROM best CROSS JOIN LATERAL (
            SELECT t.ctid AS tid FROM {s}.work t WHERE t.ctid = best.tid AND t.queue_class = best.class
              AND t.queue_at <= p_now FOR UPDATE SKIP LOCKED) AS x LIMIT v_left);
      END IF;
      FOR v_row IN
        ${CLAIM_LOCKED}
        RETURNING t.key, t.slot, t.token, t.id, t.task_id, t.ctid AS tid, CASE WHEN t.slot = 0 THEN ${taken()} END AS taken
      LOOP
        slot := v_row.slot;
        token := v_row.token;
        instance_id := v_row.id;
        task_id := v_row.task_id;
        taken := v_row.taken;
        IF slot > 0 THEN
          taken := CASE WHEN v_last = v_row.key THEN (${TAKEN_AGAIN} WHERE t.ctid = v_row.tid)
            ELSE (${TAKEN_OF_FORK} WHERE t.ctid = v_row.tid) END;
        END IF;
        v_last := v_row.key;
        RETURN NEXT;
        v_left := v_left - 1;
      END LOOP;
      EXIT WHEN v_left = 0 OR v_found < v_want;
      v_want := v_want * 2;
    END LOOP;
  END LOOP;
END $$;

-- Instances that whoever asks has to take care of: timers without a task, and control signals that
-- no worker is there to apply; such a look is put off to when the last live claim ends.
CREATE FUNCTION {s}.due_instances(p_now bigint, OUT ids text[]) LANGUAGE plpgsql AS $$
DECLARE
  v_row record;
  v_ends bigint;
BEGIN
  SELECT array_agg(x.id) INTO ids FROM (
    SELECT t.id FROM {s}.work t WHERE t.queue_class = 0 AND t.queue_at <= p_now
    ORDER BY t.queue_at LIMIT 100) AS x;
  FOR v_row IN
    SELECT t.ctid AS tid, t.id FROM {s}.work t
    WHERE t.queue_class = 1 AND t.queue_at <= p_now ORDER BY t.queue_at LIMIT 100 FOR UPDATE SKIP LOCKED
  LOOP
    SELECT max(coalesce(t.expires_at, 9007199254740991)) INTO v_ends FROM {s}.work t
    WHERE t.id = v_row.id AND t.worker_id IS NOT NULL
      AND (t.expires_at IS NULL OR t.expires_at > p_now);
    IF v_ends IS NULL THEN
      ids := ids || v_row.id;
    ELSE
      UPDATE {s}.work t SET queue_at = v_ends WHERE t.ctid = v_row.tid;
    END IF;
  END LOOP;
END $$;

-- The best task, claimed for p_ttl milliseconds, of a queue that has but one class: p_class, as it was when
-- this worker got a task last. It is one statement, which looks for what else there might be on both sides of
-- that class: each further statement, expression, setting or parameter takes its part of a lone claim. JSON as
-- claim_any gives it, which is asked where it is not so, with p_rest: p_mark, p_aging and p_filter.
CREATE FUNCTION {s}.claim_one(p_worker text, p_ttl bigint, p_class bigint, p_rest text)
RETURNS text LANGUAGE plpgsql ${FEW_SETTINGS} AS $$
#variable_conflict use_column
DECLARE
  p_now bigint := {s}.now_ms();
  v_taken text;
  v_tid tid;
  v_key bigint;
  v_input_task text;
BEGIN
  UPDATE {s}.work t SET ${CLAIMED_FOR_A_TIME}
  -- The first of all that are before it or of it: of it only where there is nothing before it.
  WHERE t.ctid = (SELECT CASE WHEN t.queue_class = p_class THEN t.ctid END FROM {s}.work t
      WHERE t.queue_class IS NOT NULL AND (t.queue_class, t.queue_at) <= (p_class, p_now)
      ORDER BY t.queue_class, t.queue_at, t.key, t.tie LIMIT 1 FOR UPDATE SKIP LOCKED)
    -- Nor is there a class after it, or a claim that has expired.
    AND NOT EXISTS (SELECT 1 FROM {s}.work t WHERE t.queue_class > p_class
      AND (t.queue_class, t.queue_at) <= (${CLAIMED_CLASS}, p_now))
  RETURNING CASE WHEN t.slot = 0 THEN ${taken({ before: 'p_now, NULL, NULL, ', input: 'NULL' })} END,
    t.ctid, t.key, t.input_task_id INTO v_taken, v_tid, v_key, v_input_task;
  IF v_taken IS NOT NULL AND v_input_task IS NULL THEN
    RETURN v_taken;
  ELSIF v_taken IS NOT NULL THEN
    RETURN left(v_taken, -1) || coalesce(',"' || (SELECT encode(r.output, 'hex') FROM {s}.result r
      WHERE r.instance_key = v_key AND r.task_id = v_input_task) || '"]', ']');
  ELSIF v_tid IS NOT NULL THEN
    v_taken := (${TAKEN_OF_FORK} WHERE t.ctid = v_tid);
    RETURN '[' || p_now || ',null,null,' || substr(v_taken, 2);
  END IF;
  RETURN {s}.claim_any(p_worker, ${REST('p_ttl')}, p_now);
END $$;

-- The best task, claimed for p_ttl milliseconds, -1 for ever: JSON that begins with the clock, what is due,
-- and the only class of the queue, -1 where there are others or none for this worker, null where it may be
-- as it was.
CREATE FUNCTION {s}.claim_any(p_worker text, p_mark bigint, p_ttl bigint, p_filter text, p_aging bigint,
  p_now bigint)
RETURNS text LANGUAGE plpgsql ${SETTINGS} AS $$
#variable_conflict use_column
DECLARE
  v_special bigint;
  v_over bigint;
  v_class bigint;
  v_only bigint := -1;
  v_taken text;
BEGIN
  ${PROBE}
  IF ${isQuiet('p_now')} THEN
    IF v_class IS NULL THEN RETURN '[' || p_now || ',null,null]'; END IF;
    ${OTHER_CLASS}
    IF NOT FOUND THEN v_only := v_class; END IF;
  END IF;
  SELECT f.taken INTO v_taken FROM {s}.take(p_worker, p_mark, p_ttl, 1, p_filter, p_aging, p_now,
    v_only >= 0, v_class) AS f;
  RETURN '[' || p_now || ',' || CASE WHEN v_special IS NULL THEN 'null'
    ELSE coalesce(array_to_json({s}.due_instances(p_now))::text, 'null') END || ','
    || CASE WHEN v_taken IS NULL THEN '-1]' ELSE v_only || ',' || substr(v_taken, 2) END;
END $$;

-- As claim_one, several: rows, of which the first begins with the clock, what is due, and the only class.
CREATE FUNCTION {s}.claim_some(p_worker text, p_ttl bigint, p_class bigint, p_rest text, p_limit integer)
RETURNS SETOF text LANGUAGE plpgsql ${FEW_SETTINGS} AS $$
#variable_conflict use_column
DECLARE
  p_now bigint := {s}.now_ms();
  v_tids tid[];
  v_has_forks boolean;
  v_has_inputs boolean;
BEGIN
  SELECT array_agg(x.tid), bool_or(x.slot > 0), bool_or(x.input_task_id IS NOT NULL)
  INTO v_tids, v_has_forks, v_has_inputs FROM (
    SELECT t.ctid AS tid, t.slot, t.input_task_id FROM {s}.work t WHERE t.queue_class = p_class AND t.queue_at <= p_now
    ORDER BY t.queue_at, t.key, t.tie LIMIT p_limit FOR UPDATE SKIP LOCKED) AS x
  WHERE NOT EXISTS (SELECT 1 FROM {s}.work t WHERE t.queue_class < p_class)
    AND NOT EXISTS (SELECT 1 FROM {s}.work t WHERE t.queue_class > p_class
      AND (t.queue_class, t.queue_at) <= (${CLAIMED_CLASS}, p_now));
  IF v_has_inputs AND NOT v_has_forks THEN
    RETURN QUERY UPDATE {s}.work t SET ${CLAIMED_FOR_A_TIME} FROM unnest(v_tids) AS best (tid)
      WHERE t.ctid = best.tid RETURNING ${taken({ before: 'p_now, NULL, NULL, ' })};
    RETURN;
  ELSIF v_has_forks IS NOT true THEN
    -- Also where there are none: a worker that waits has then planned what it claims the first one with.
    RETURN QUERY UPDATE {s}.work t SET ${CLAIMED_FOR_A_TIME} FROM unnest(v_tids) AS best (tid)
      WHERE t.ctid = best.tid RETURNING ${taken({ before: 'p_now, NULL, NULL, ', input: 'NULL' })};
    IF FOUND THEN RETURN; END IF;
  END IF;
  RETURN QUERY SELECT * FROM {s}.claim_available(p_worker, ${REST('p_ttl')}, p_limit);
END $$;

-- The best tasks: rows as claim_any gives one, of which the first begins with the clock, what is due, and
-- the only class of the queue.
CREATE FUNCTION {s}.claim_available(p_worker text, p_mark bigint, p_ttl bigint, p_filter text,
  p_aging bigint, p_limit integer)
RETURNS SETOF text LANGUAGE plpgsql ${SETTINGS} AS $$
#variable_conflict use_column
DECLARE
  p_now bigint := {s}.now_ms();
  v_expiry bigint := CASE WHEN p_ttl < 0 THEN NULL ELSE least(p_now + p_ttl, 253402300799999) END;
  v_special bigint;
  v_over bigint;
  v_class bigint;
  v_only bigint := -1;
  v_tids tid[];
  v_has_forks boolean;
  v_first text;
  v_taken text;
BEGIN
  ${PROBE}
  IF ${isQuiet('p_now')} THEN
    IF v_class IS NULL THEN
      RETURN NEXT '[' || p_now || ',null,null]';
      RETURN;
    END IF;
    ${OTHER_CLASS}
    IF NOT FOUND THEN
      v_only := v_class;
      IF p_filter = '' THEN
        ${locked('p_limit')}
        IF NOT v_has_forks THEN
          RETURN QUERY ${CLAIM_LOCKED} RETURNING ${taken({ before: 'p_now, NULL, v_only, ' })};
          RETURN;
        END IF;
        IF v_tids IS NULL THEN p_limit := 0; END IF;
      END IF;
    END IF;
  END IF;
  v_first := '[' || p_now || ',' || CASE WHEN v_special IS NULL THEN 'null'
    ELSE coalesce(array_to_json({s}.due_instances(p_now))::text, 'null') END || ',';
  IF p_limit > 0 THEN
    FOR v_taken IN SELECT f.taken FROM {s}.take(p_worker, p_mark, p_ttl, p_limit, p_filter, p_aging, p_now,
      v_only >= 0, v_class) AS f
    LOOP
      RETURN NEXT coalesce(v_first || v_only, '[0,null,null') || ',' || substr(v_taken, 2);
      v_first := NULL;
    END LOOP;
  END IF;
  IF v_first IS NOT NULL THEN RETURN NEXT v_first || '-1]'; END IF;
END $$;

-- The best tasks, as they are.
CREATE FUNCTION {s}.find_available(p_mark bigint, p_limit integer, p_filter text, p_aging bigint)
RETURNS TABLE (now_ms bigint, due text[], instance_id text, task_id text, entries text, input text,
  numbers text, definition_hash text, signals text, head text, initial_input text, final_output text)
LANGUAGE plpgsql ${SETTINGS} AS $$
#variable_conflict use_column
DECLARE
  v_now bigint := {s}.now_ms();
BEGIN
  now_ms := v_now;
  IF ${isDue('v_now')} THEN due := {s}.due_instances(v_now); END IF;
  RETURN NEXT;
  RETURN QUERY
    SELECT NULL::bigint, NULL::text[], x.id, x.task_id,
      CASE WHEN x.slot = 0 THEN json_build_array(${ENTRY.replaceAll('t.', 'x.')})::text ELSE {s}.entries(x.id) END,
      (SELECT encode(r.output, 'hex') FROM {s}.result r
        WHERE r.instance_key = x.key AND r.task_id = x.input_task_id),
      ${INSTANCE_OF_BOTH}
    FROM (SELECT p.*, lag(p.instance_key) OVER () AS last_key
      FROM {s}.peek(p_mark, p_limit, p_filter, p_aging, v_now)
        WITH ORDINALITY AS p (instance_key, instance_id, slot, task_id, tie, n)) AS f
    CROSS JOIN LATERAL (SELECT t.* FROM {s}.work t
      WHERE t.id = f.instance_id AND t.slot = f.slot AND t.tie = f.tie AND t.task_id = f.task_id LIMIT 1) AS x
    -- Tasks of a fork come with their instance once, where they follow each other.
    LEFT JOIN LATERAL (SELECT i.* FROM {s}.work i WHERE x.slot > 0 AND i.id = x.id AND i.slot = 0
      AND f.last_key IS DISTINCT FROM f.instance_key LIMIT 1) AS i ON true
    ORDER BY f.n;
END $$;

CREATE FUNCTION {s}.entries(p_id text) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT json_agg(${ENTRY})::text FROM {s}.work t
  WHERE t.id = p_id AND t.slot < 2147483647 AND t.task_id IS NOT NULL
$$;

-- The best due tasks, as they are.
CREATE FUNCTION {s}.peek(p_mark bigint, p_limit integer, p_filter text, p_aging bigint, p_now bigint)
RETURNS TABLE (instance_key bigint, instance_id text, slot integer, task_id text, tie text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_due record;
BEGIN
  SELECT * INTO v_due FROM {s}.due_classes(p_mark, p_filter, p_now);
  RETURN QUERY
    SELECT x.key, x.id, x.slot, x.task_id, x.tie
    FROM unnest(v_due.others || v_due.own) AS c CROSS JOIN LATERAL (
      SELECT t.key, t.id, t.slot, t.task_id, t.queue_at, t.tie FROM {s}.work t
      WHERE t.queue_class = c AND t.queue_at <= p_now
      ORDER BY t.queue_at, t.key, t.tie LIMIT p_limit) AS x
    ORDER BY (c & 16777215) = p_mark AND p_mark > 0,
      x.queue_at + ((c >> 24) & 7) * p_aging, x.queue_at, x.key, x.tie
    LIMIT p_limit;
END $$;

-- Claims a task. outcome: claimed, missing, unavailable, timer.
CREATE FUNCTION {s}.claim_task(p_id text, p_task text, p_slot integer, p_worker text, p_ttl bigint)
RETURNS TABLE (outcome text, task_entries text, numbers text, definition_hash text, signals text, head text,
  initial_input text, final_output text)
LANGUAGE plpgsql ${SETTINGS} AS $$
#variable_conflict use_column
DECLARE
  v_now bigint := {s}.now_ms();
  v_expiry bigint := CASE WHEN p_ttl < 0 THEN NULL ELSE least(v_now + p_ttl, 253402300799999) END;
BEGIN
  UPDATE {s}.work t SET queue_class = CASE WHEN v_expiry IS NULL THEN NULL ELSE ${CLAIMED_CLASS} END,
    queue_at = v_expiry, worker_id = p_worker, token = nextval('{s}.counter'), claimed_at = v_now,
    expires_at = v_expiry, deliveries = t.deliveries + 1
  WHERE t.id = p_id AND t.slot IN (0, p_slot) AND t.task_id = p_task
    AND t.open AND NOT t.timer AND t.available_since <= v_now
    AND (t.worker_id IS NULL OR t.expires_at <= v_now);
  IF FOUND THEN
    RETURN QUERY SELECT 'claimed', {s}.entries(i.id), ${INSTANCE} FROM {s}.work i WHERE i.id = p_id AND i.slot = 0;
    RETURN;
  END IF;
  PERFORM 1 FROM {s}.work i WHERE i.id = p_id AND i.slot = 0;
  IF NOT FOUND THEN
    outcome := 'missing';
    RETURN NEXT;
    RETURN;
  END IF;
  -- A delay or signal that is over stands before it, or before the end.
  PERFORM 1 FROM {s}.work t
  WHERE t.id = p_id AND t.slot = 0 AND t.task_id IN (p_task, '') AND t.timer
    AND t.open AND t.available_since <= v_now AND (t.worker_id IS NULL OR t.expires_at <= v_now);
  outcome := CASE WHEN FOUND THEN 'timer' ELSE 'unavailable' END;
  RETURN NEXT;
END $$;

-- Gives claims up (kind 0), or prolongs them: from their expiry (1), from now (2).
CREATE FUNCTION {s}.change_claims(p_ids text[], p_tasks text[], p_slots integer[], p_workers text[],
  p_tokens bigint[], p_kinds integer[], p_ms bigint[])
RETURNS TABLE (n integer, token bigint, claimed_at bigint, expires_at bigint)
LANGUAGE plpgsql ${SETTINGS} AS $$
#variable_conflict use_column
DECLARE
  v_now bigint := {s}.now_ms();
BEGIN
  RETURN QUERY
    UPDATE {s}.work t SET
      worker_id = CASE WHEN r.kind = 0 THEN NULL ELSE t.worker_id END,
      expires_at = CASE WHEN r.kind = 0 THEN t.expires_at ELSE ${EXPIRY} END,
      queue_class = CASE WHEN NOT t.open THEN NULL WHEN r.kind = 0 THEN t.ready_class
        WHEN t.expires_at IS NULL THEN NULL ELSE ${CLAIMED_CLASS} END,
      queue_at = CASE WHEN NOT t.open THEN NULL WHEN r.kind = 0 THEN t.available_since
        -- Left where it is, if it is early enough: a heartbeat then changes no index.
        WHEN t.queue_class = ${CLAIMED_CLASS} THEN least(t.queue_at, ${EXPIRY}) ELSE ${EXPIRY} END
    FROM unnest(p_ids, p_tasks, p_slots, p_workers, p_tokens, p_kinds, p_ms) WITH ORDINALITY
      AS r (id, task, slot, worker, token, kind, ms, n)
    -- Said twice, so that whatever the plan is, it looks for these only. A row that changes meanwhile
    -- is looked at again: a claim that is prolonged is not lost because an event came for its instance.
    WHERE t.id = ANY (p_ids) AND t.id = r.id AND t.slot IN (0, r.slot) AND t.task_id = r.task
      AND t.worker_id = r.worker AND (r.token = 0 OR t.token = r.token)
    RETURNING r.n::integer, t.token, t.claimed_at, t.expires_at;
  IF 0 = ANY (p_kinds) THEN
    IF EXISTS (SELECT 1 FROM {s}.waiter x WHERE x.armed) THEN
      PERFORM {s}.wake(ARRAY(SELECT t.ready_class >> 27 FROM unnest(p_ids, p_tasks, p_slots, p_kinds) AS r (id, task, slot, kind)
        CROSS JOIN LATERAL (SELECT t.ready_class FROM {s}.work t
          WHERE t.id = r.id AND t.slot IN (0, r.slot) AND t.task_id = r.task LIMIT 1) AS t
        WHERE r.kind = 0), v_now);
    END IF;
    -- Nobody may be left to apply a control signal.
    UPDATE {s}.work t SET queue_at = 0
    FROM (SELECT h.tid FROM unnest(p_ids, p_kinds) AS r (id, kind)
      CROSS JOIN LATERAL (SELECT t.ctid AS tid FROM {s}.work t
        WHERE t.id = r.id AND t.slot = 2147483647 LIMIT 1) AS h WHERE r.kind = 0) AS r
    WHERE t.ctid = r.tid AND t.slot = 2147483647;
  END IF;
END $$;
`
