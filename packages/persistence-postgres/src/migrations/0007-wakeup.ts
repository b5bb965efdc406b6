import { isDue, SETTINGS } from './0002-dispatch.ts'

/** Backends that are notified one by one; where there are more, all are told, and look. */
const TOLD = 20

/** Never edited once released: a change is a migration of its own. `{s}` is the schema. */
export const wakeup: string = `
-- Takes the arming of those who wait for work of these routes, and notifies them: their ids, and in
-- a second line what there is to do, as JSON, if it is certain that they may have it now.
CREATE FUNCTION {s}.wake(p_routes bigint[], p_now bigint, p_task text DEFAULT '') RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  v_told integer;
BEGIN
  WITH told AS (
    UPDATE {s}.waiter x SET armed = false WHERE x.ctid = ANY (ARRAY(
      SELECT y.ctid FROM {s}.waiter y WHERE y.armed AND y.until > p_now
        AND (y.routes IS NULL OR y.routes && p_routes OR y.last_route < ANY (p_routes))
      FOR UPDATE SKIP LOCKED))
    RETURNING x.id, p_task <> '' AND (x.routes IS NULL OR x.routes && p_routes) AS is_certain),
  groups AS (
    SELECT string_agg(t.id::text, ' ') || chr(10) || CASE WHEN t.is_certain THEN p_task ELSE '' END AS payload,
      (SELECT count(*) FROM told) AS count
    FROM told t GROUP BY t.is_certain)
  SELECT count(pg_notify('{c}', CASE WHEN g.count > ${TOLD} THEN '' ELSE g.payload END)) INTO v_told FROM groups g;
END $$;

-- The best due task, and else when the next becomes due, as far as that is known. Before it looks it
-- makes known that a backend waits for work that any of these filters takes, if there are some.
CREATE FUNCTION {s}.look(p_id uuid, p_filters text[], p_for bigint, p_filter text, p_aging bigint)
RETURNS TABLE (now_ms bigint, due text[], next_at bigint, instance_id text, task_id text, definition_hash text)
LANGUAGE plpgsql ${SETTINGS} AS $$
#variable_conflict use_column
DECLARE
  v_routes bigint[];
BEGIN
  now_ms := {s}.now_ms();
  IF cardinality(p_filters) > 0 THEN
    IF '' <> ALL (p_filters) THEN
      v_routes := ARRAY(SELECT DISTINCT unnest({s}.served(f::jsonb)) FROM unnest(p_filters) AS f);
    END IF;
    INSERT INTO {s}.waiter AS x (id, until, armed, routes, last_route)
    VALUES (p_id, now_ms + p_for, true, v_routes, coalesce((SELECT max(r.id) FROM {s}.route r), 0))
    ON CONFLICT (id) DO UPDATE SET until = excluded.until, armed = true, routes = excluded.routes,
      last_route = excluded.last_route;
  END IF;
  IF ${isDue('now_ms')} THEN due := {s}.due_instances(now_ms); END IF;
  SELECT i.id, p.task_id, i.definition_hash INTO instance_id, task_id, definition_hash
  FROM {s}.peek(0, 1, p_filter, p_aging, now_ms) AS p
  CROSS JOIN LATERAL (SELECT i.id, i.definition_hash FROM {s}.work i
    WHERE i.id = p.instance_id AND i.slot = 0 LIMIT 1) AS i;
  IF instance_id IS NULL THEN
    SELECT least(c.next_at,
      (SELECT min(t.queue_at) FROM {s}.work t WHERE t.queue_class = 0 AND t.queue_at > now_ms),
      (SELECT min(t.queue_at) FROM {s}.work t WHERE t.queue_class = 1 AND t.queue_at > now_ms))
    INTO next_at FROM {s}.due_classes(0, p_filter, now_ms) AS c;
  END IF;
  RETURN NEXT;
END $$;

-- A backend waits no more; neither do those that were not heard of for an hour.
CREATE FUNCTION {s}.disarm(p_id uuid) RETURNS void LANGUAGE plpgsql ${SETTINGS} AS $$
BEGIN
  DELETE FROM {s}.waiter x WHERE x.id = p_id OR x.until < {s}.now_ms() - 3600000;
END $$;
`
