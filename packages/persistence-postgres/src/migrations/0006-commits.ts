import { isDue, SETTINGS } from './0002-dispatch.ts'

/** What a result's row becomes, whatever was there under the task. */
const REPLACED = [
  ...['place', 'output', 'worker_id', 'token', 'revision', 'status'],
  ...['next_instance_id', 'next_task_id', 'next_token'],
]
  .map((column) => `${column} = excluded.${column}`)
  .join(', ')

/** Whose claim on a task t of a changed instance w is given up by its commit. */
const HELD = 't.task_id = w.task AND t.worker_id = p_worker AND t.token = w.token'

/**
 * Changed instances w with the rows of their tasks. A plan may be of when the tables were empty, and
 * is kept: written so, it can be no other than a seek for each.
 */
const TASKS = `(SELECT w.*, h.tid FROM changed w CROSS JOIN LATERAL (SELECT t.ctid AS tid FROM {s}.task t
      WHERE t.instance_key = w.key AND t.slot = 0 AND ${HELD} LIMIT 1) AS h) AS w`

/** Never edited once released: a change is a migration of its own. `{s}` is the schema. */
export const commits: string = `
-- Commits tasks that completed, each the only one of its instance: what is done most, and no more.
-- change_instances can do it too, and costs several times as much for all that it can do besides.
-- p_commits: an array in JSON; next_task is left out where the instance is completed.
-- p_claims: whether each worker goes on, with the next task of the instance, else with the best.
-- First row: the numbers of those that were made, the others being refused, and the tokens of their
-- next tasks; then, for those that were completed, in the order of their numbers, other tasks.
CREATE FUNCTION {s}.commit_tasks(p_commits text, p_first bigint, p_last bigint, p_tolerance bigint,
  p_worker text, p_claims boolean, p_ttl bigint, p_mark bigint, p_filter text,
  p_aging bigint, p_routes bigint[])
RETURNS TABLE (now_ms bigint, done text, tokens text, due text, token bigint, deliveries integer,
  instance_id text, task_id text,
  entries text, input text, numbers text, definition_hash text, signals text, head text,
  initial_input text, final_output text)
LANGUAGE plpgsql ${SETTINGS} AS $$
#variable_conflict use_column
DECLARE
  v_now bigint := {s}.now_ms();
  v_expiry bigint := CASE WHEN p_ttl >= 0 THEN least(v_now + p_ttl, 253402300799999) END;
  v_many integer := 1000000;
  v_changed integer;
  v_completed integer;
  v_done integer[];
  v_tokens bigint[];
  v_ended bigint[];
  v_is_due boolean;
  v_keys bigint[];
  v_places bigint[];
  v_held bigint[];
  v_revisions bigint[];
  v_tasks text[];
  v_outputs bytea[];
  v_next_ids text[];
  v_next_tasks text[];
  v_next_tokens bigint[];
BEGIN
  IF p_last - v_now > p_tolerance OR v_now - p_first > p_tolerance THEN
    now_ms := v_now;
    RETURN NEXT;
    RETURN;
  END IF;
  WITH changed AS (
    UPDATE {s}.instance i SET version = i.version + 1, revision = i.revision + 1, updated_at = w.at,
      head = w.head, status = CASE WHEN w.next_task IS NULL THEN 'completed' ELSE i.status END,
      ended_at = CASE WHEN w.next_task IS NULL THEN w.at END, final_output = w.final
    FROM (SELECT w.*, h.tid FROM (SELECT * FROM (SELECT * FROM json_to_recordset(p_commits::json) AS w (
        n integer, id text, generation uuid, version bigint, task text, token bigint, at bigint, head text,
        place bigint, output bytea, next_task text, class bigint, priority smallint, final bytea)
        -- Of an unknown limit the planner expects a tenth: so they are few to it.
        LIMIT v_many) AS w LIMIT v_many) AS w
      CROSS JOIN LATERAL (SELECT i.ctid AS tid FROM {s}.instance i
        WHERE i.id = w.id AND i.generation = w.generation AND i.version = w.version LIMIT 1) AS h) AS w
    WHERE i.ctid = w.tid AND i.generation = w.generation AND i.version = w.version
    RETURNING w.n, w.id, w.task, w.token, w.at, w.place, w.output, w.next_task, w.class, w.priority,
      i.key, i.revision, i.has_events),
  stepped AS (
    UPDATE {s}.task t SET task_id = w.next_task, ready_class = w.class, available_since = w.at,
      priority = w.priority, attempt = 1, last_failed_worker = NULL, input_task_id = w.task,
      queue_class = CASE WHEN NOT p_claims THEN w.class WHEN v_expiry IS NULL THEN NULL ELSE 2 END,
      queue_at = CASE WHEN NOT p_claims THEN w.at
        -- Left where it is, if it is early enough: a step then changes no index.
        WHEN t.queue_class = 2 THEN least(t.queue_at, v_expiry) ELSE v_expiry END,
      deliveries = CASE WHEN p_claims THEN 1 ELSE 0 END,
      worker_id = CASE WHEN p_claims THEN p_worker END,
      token = CASE WHEN p_claims THEN nextval('{s}.counter') END,
      claimed_at = CASE WHEN p_claims THEN v_now END,
      expires_at = CASE WHEN p_claims THEN v_expiry END
    FROM ${TASKS} WHERE w.next_task IS NOT NULL AND t.ctid = w.tid AND ${HELD}
    RETURNING w.n, w.key, w.place, w.token, w.revision, t.token AS next_token, w.task,
      CASE WHEN p_claims THEN w.id END AS next_id, CASE WHEN p_claims THEN w.next_task END AS next_task, w.output),
  gone AS (
    DELETE FROM {s}.task t USING ${TASKS} WHERE w.next_task IS NULL AND t.ctid = w.tid AND ${HELD}
    RETURNING w.n, w.key, w.place, w.token, w.revision, w.task, w.output, w.has_events),
  stored AS (
    INSERT INTO {s}.result AS r (instance_key, place, token, revision, next_token, task_id, worker_id, status,
      next_instance_id, next_task_id, output)
    SELECT x.key, x.place, x.token, x.revision, x.next_token, x.task, p_worker, 'in-progress', x.next_id,
      x.next_task, x.output FROM stepped x
    UNION ALL SELECT x.key, x.place, x.token, x.revision, NULL, x.task, p_worker, 'completed', NULL, NULL, x.output
    FROM gone x WHERE NOT p_claims
    ON CONFLICT (instance_key, task_id) DO UPDATE SET ${REPLACED})
  SELECT g.done || s.done, s.tokens, g.completed, g.keys, g.places, g.held, g.revisions, g.tasks, g.outputs, g.ended,
    (SELECT count(*) FROM changed), p_claims AND ${isDue('v_now')}
  INTO v_done, v_tokens, v_completed, v_keys, v_places, v_held, v_revisions, v_tasks, v_outputs, v_ended, v_changed, v_is_due
  FROM (SELECT array_agg(x.n) AS done, count(*) AS completed, array_agg(x.key) AS keys,
      array_agg(x.place) AS places, array_agg(x.token) AS held, array_agg(x.revision) AS revisions,
      array_agg(x.task) AS tasks, array_agg(x.output) AS outputs,
      array_agg(x.key) FILTER (WHERE x.has_events) AS ended FROM gone x) AS g,
    (SELECT array_agg(x.n) AS done, array_agg(x.next_token) AS tokens FROM stepped x) AS s;
  -- A claim has changed hands, or a task is not due yet: change_instances finds out which.
  IF coalesce(cardinality(v_done), 0) <> v_changed OR p_claims AND p_last > v_now THEN PERFORM {s}.again(); END IF;
  IF v_ended IS NOT NULL THEN DELETE FROM {s}.event e WHERE e.instance_key = ANY (v_ended); END IF;
  IF v_completed > 0 THEN
    INSERT INTO {s}.instance_count AS c (shard, status, instances)
    VALUES (pg_backend_pid() & 31, 'completed', v_completed), (pg_backend_pid() & 31, 'in-progress', -v_completed)
    ON CONFLICT (shard, status) DO UPDATE SET instances = c.instances + excluded.instances;
  END IF;
  IF v_is_due THEN due := array_to_json({s}.due_instances(v_now))::text; END IF;
  IF cardinality(p_routes) > 0 THEN PERFORM {s}.wake(p_routes, v_now); END IF;
  now_ms := v_now;
  done := array_to_json(v_done)::text;
  tokens := array_to_json(v_tokens)::text;
  RETURN NEXT;
  IF v_completed = 0 OR NOT p_claims THEN RETURN; END IF;
  now_ms := NULL;
  done := NULL;
  tokens := NULL;
  due := NULL;
  FOR token, deliveries, instance_id, task_id, entries, input, numbers, definition_hash, signals, head,
    initial_input, final_output
  IN SELECT f.token, f.deliveries, f.instance_id, f.task_id, f.entries, f.input, f.numbers, f.definition_hash,
    f.signals, f.head, f.initial_input, f.final_output
    FROM {s}.take(p_worker, p_mark, p_ttl, v_completed, p_filter, p_aging, v_now) AS f
  LOOP
    v_next_ids := v_next_ids || instance_id;
    v_next_tasks := v_next_tasks || task_id;
    v_next_tokens := v_next_tokens || token;
    RETURN NEXT;
  END LOOP;
  INSERT INTO {s}.result AS r (instance_key, place, token, revision, next_token, task_id, worker_id, status,
    next_instance_id, next_task_id, output)
  SELECT v_keys[n], v_places[n], v_held[n], v_revisions[n], v_next_tokens[n], v_tasks[n], p_worker, 'completed',
    v_next_ids[n], v_next_tasks[n], v_outputs[n]
  FROM generate_series(1, v_completed) AS n
  ON CONFLICT (instance_key, task_id) DO UPDATE SET ${REPLACED};
END $$;
`
