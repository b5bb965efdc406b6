import { CLAIMED_CLASS, isQuiet, PROBE, SETTINGS } from './0002-dispatch.ts'
import { count, NO_TASK } from './0003-changes.ts'

/** What a result's row becomes, whatever was there under the task. */
const REPLACED = [
  ...['place', 'output', 'worker_id', 'token', 'revision', 'status'],
  ...['next_instance_id', 'next_task_id', 'next_token'],
]
  .map((column) => `${column} = excluded.${column}`)
  .join(', ')

/**
 * The rows t of instances that are still as they were read, and whose task is held under the claim,
 * each with what becomes of it, w. A plan may be of when the tables were empty, and is kept: written
 * so, it can be no other than a seek for each.
 */
const heldBy = (
  commits: string,
  columns: string,
): string => `FROM (SELECT w.*, h.tid FROM (SELECT * FROM (SELECT * FROM json_to_recordset(${commits}::json) AS w (
        n integer, id text, generation uuid, version bigint, task text, token bigint, at bigint, head text,
        place bigint, output bytea, ${columns})
        -- Of an unknown limit the planner expects a tenth: so they are few to it.
        LIMIT v_many) AS w LIMIT v_many) AS w
      CROSS JOIN LATERAL (SELECT t.ctid AS tid FROM {s}.work t WHERE t.id = w.id AND t.slot = 0 LIMIT 1) AS h) AS w
    WHERE t.ctid = w.tid AND t.generation = w.generation AND t.version = w.version
      AND t.task_id = w.task AND t.worker_id = p_worker AND t.token = w.token`

/** Never edited once released: a change is a migration of its own. `{s}` is the schema. */
export const commits: string = `
-- Commits tasks that completed, each the only one of its instance: what is done most, and no more.
-- change_instances can do it too, and costs several times as much for all that it can do besides.
-- p_steps, those that another task follows, and p_ends, those that complete their instance: arrays in
-- JSON, or empty. p_claims: whether each worker goes on, with the next task of the instance, else with
-- the best. Rows of JSON. First: the clock, what is due, the numbers of those that were made, the others
-- being refused, and the tokens of their next tasks; then other tasks, for those that completed their
-- instance, in the order in which these are in the first row.
CREATE FUNCTION {s}.commit_tasks(p_steps text, p_ends text, p_first bigint, p_last bigint, p_tolerance bigint,
  p_worker text, p_claims boolean, p_ttl bigint, p_mark bigint, p_filter text,
  p_aging bigint, p_routes bigint[])
RETURNS SETOF text LANGUAGE plpgsql ${SETTINGS} AS $$
#variable_conflict use_column
DECLARE
  v_now bigint := {s}.now_ms();
  v_expiry bigint := CASE WHEN p_ttl >= 0 THEN least(v_now + p_ttl, 253402300799999) END;
  v_many integer := 1000000;
  v_completed integer := 0;
  v_done integer[];
  v_ends integer[];
  v_due text[];
  v_special bigint;
  v_over bigint;
  v_class bigint;
  v_next record;
  v_tokens bigint[];
  v_ended bigint[];
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
    RETURN NEXT json_build_array(v_now)::text;
    RETURN;
  END IF;
  -- A task that is not due yet can't be claimed: change_instances finds out which.
  IF p_claims AND p_last > v_now THEN PERFORM {s}.again(); END IF;
  IF p_steps <> '' THEN
    WITH stepped AS (
      UPDATE {s}.work t SET version = t.version + 1, revision = t.revision + 1, updated_at = w.at, head = w.head,
        task_id = w.next_task, ready_class = w.class, available_since = w.at, priority = w.priority, attempt = 1,
        last_failed_worker = NULL, input_task_id = w.task,
        queue_class = CASE WHEN NOT p_claims THEN w.class WHEN v_expiry IS NULL THEN NULL ELSE ${CLAIMED_CLASS} END,
        queue_at = CASE WHEN NOT p_claims THEN w.at
          -- Left where it is, if it is early enough: a step then changes no index.
          WHEN t.queue_class = ${CLAIMED_CLASS} THEN least(t.queue_at, v_expiry) ELSE v_expiry END,
        deliveries = CASE WHEN p_claims THEN 1 ELSE 0 END,
        worker_id = CASE WHEN p_claims THEN p_worker END,
        token = CASE WHEN p_claims THEN nextval('{s}.counter') END,
        claimed_at = CASE WHEN p_claims THEN v_now END,
        expires_at = CASE WHEN p_claims THEN v_expiry END
      ${heldBy('p_steps', 'next_task text, class bigint, priority smallint')}
      RETURNING w.n, w.id, w.task, w.token, w.place, w.output, w.next_task, t.key, t.revision, t.token AS next_token),
    stored AS (
      INSERT INTO {s}.result AS r (instance_key, place, token, revision, next_token, task_id, worker_id, status,
        next_instance_id, next_task_id, output)
      SELECT x.key, x.place, x.token, x.revision, x.next_token, x.task, p_worker, 'in-progress',
        CASE WHEN p_claims THEN x.id END, CASE WHEN p_claims THEN x.next_task END, x.output FROM stepped x
      ON CONFLICT (instance_key, task_id) DO UPDATE SET ${REPLACED})
    SELECT array_agg(x.n), array_agg(x.next_token) INTO v_done, v_tokens FROM stepped x;
  END IF;
  IF p_ends <> '' THEN
    WITH ended AS (
      UPDATE {s}.work t SET version = t.version + 1, revision = t.revision + 1, updated_at = w.at, head = w.head,
        status = 'completed', ended_at = w.at, final_output = w.final, ${NO_TASK}
      ${heldBy('p_ends', 'final bytea')}
      RETURNING w.n, w.task, w.token, w.place, w.output, t.key, t.revision, t.has_events),
    stored AS (
      INSERT INTO {s}.result AS r (instance_key, place, token, revision, task_id, worker_id, status, output)
      SELECT x.key, x.place, x.token, x.revision, x.task, p_worker, 'completed', x.output
      FROM ended x WHERE NOT p_claims
      ON CONFLICT (instance_key, task_id) DO UPDATE SET ${REPLACED})
    SELECT array_agg(x.n), count(*), array_agg(x.key) FILTER (WHERE p_claims),
      array_agg(x.place) FILTER (WHERE p_claims), array_agg(x.token) FILTER (WHERE p_claims),
      array_agg(x.revision) FILTER (WHERE p_claims), array_agg(x.task) FILTER (WHERE p_claims),
      array_agg(x.output) FILTER (WHERE p_claims), array_agg(x.key) FILTER (WHERE x.has_events)
    INTO v_ends, v_completed, v_keys, v_places, v_held, v_revisions, v_tasks, v_outputs, v_ended FROM ended x;
    IF v_ended IS NOT NULL THEN DELETE FROM {s}.event e WHERE e.instance_key = ANY (v_ended); END IF;
    IF v_completed > 0 THEN
      ${count("VALUES ('completed', v_completed), ('in-progress', -v_completed)", 'v_now')}
    END IF;
  END IF;
  IF p_claims THEN
    ${PROBE}
    IF v_special IS NOT NULL THEN v_due := {s}.due_instances(v_now); END IF;
  END IF;
  IF cardinality(p_routes) > 0 THEN PERFORM {s}.wake(p_routes, v_now); END IF;
  RETURN NEXT json_build_array(v_now, v_due, v_done || v_ends, v_tokens)::text;
  IF v_completed = 0 OR NOT p_claims THEN RETURN; END IF;
  FOR v_next IN SELECT f.token, f.instance_id, f.task_id, f.taken
    FROM {s}.take(p_worker, p_mark, p_ttl, v_completed, p_filter, p_aging, v_now, ${isQuiet('v_now')}, v_class) AS f
  LOOP
    v_next_ids := v_next_ids || v_next.instance_id;
    v_next_tasks := v_next_tasks || v_next.task_id;
    v_next_tokens := v_next_tokens || v_next.token;
    RETURN NEXT v_next.taken;
  END LOOP;
  INSERT INTO {s}.result AS r (instance_key, place, token, revision, next_token, task_id, worker_id, status,
    next_instance_id, next_task_id, output)
  SELECT v_keys[n], v_places[n], v_held[n], v_revisions[n], v_next_tokens[n], v_tasks[n], p_worker, 'completed',
    v_next_ids[n], v_next_tasks[n], v_outputs[n]
  FROM generate_series(1, v_completed) AS n
  ON CONFLICT (instance_key, task_id) DO UPDATE SET ${REPLACED};
END $$;
`
