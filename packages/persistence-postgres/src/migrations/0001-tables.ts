/** Never edited once released: a change is a migration of its own. `{s}` is the schema. */
export const tables: string = `
-- Numbers instances, claims (their fencing tokens) and events, and only ever grows.
CREATE SEQUENCE {s}.counter;

CREATE TABLE {s}.work (
  key bigint NOT NULL,
  queue_class bigint,
  queue_at bigint,
  ready_class bigint,
  available_since bigint,
  token bigint,
  claimed_at bigint,
  expires_at bigint,
  attempt bigint,
  version bigint,
  revision bigint,
  created_at bigint,
  updated_at bigint,
  ended_at bigint,
  generation uuid,
  slot integer NOT NULL DEFAULT 0,
  deliveries integer,
  queued_events integer,
  priority smallint,
  open boolean,
  timer boolean,
  has_events boolean,
  id text COLLATE "C" NOT NULL,
  tie text COLLATE "C" NOT NULL DEFAULT '',
  task_id text COLLATE "C",
  input_task_id text COLLATE "C",
  last_failed_worker text COLLATE "C",
  worker_id text COLLATE "C",
  definition_hash text COLLATE "C",
  status text COLLATE "C",
  signals text COLLATE "C",
  head text COLLATE "C",
  initial_input bytea,
  final_output bytea,
  PRIMARY KEY (id, slot, tie)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.1);
CREATE INDEX work_queue ON {s}.work (queue_class, queue_at, key, tie) WHERE queue_class IS NOT NULL;
CREATE INDEX work_ended ON {s}.work (status, ended_at) WHERE ended_at IS NOT NULL;
COMMENT ON TABLE {s}.work IS 'One row for each instance, in slot 0, with the task that comes next in it; a row of its own for each task of a fork, and for control signals. So a step writes one row.';

CREATE VIEW {s}.instance AS SELECT key, generation, created_at, updated_at, ended_at, version, revision,
  queued_events, has_events, id, definition_hash, status, initial_input, final_output, signals, head
  FROM {s}.work WHERE slot = 0;
COMMENT ON VIEW {s}.instance IS 'One row for each instance of a workflow. Times are epoch milliseconds.';
COMMENT ON COLUMN {s}.instance.key IS 'Stands for this life of the instance in the other tables.';
COMMENT ON COLUMN {s}.instance.generation IS 'Tells this instance from a deleted one of the same id.';
COMMENT ON COLUMN {s}.instance.version IS 'One more with every change: what a change compares.';
COMMENT ON COLUMN {s}.instance.revision IS 'One more with every change of the snapshot.';
COMMENT ON COLUMN {s}.instance.status IS 'in-progress, paused, completed, failed or cancelled.';
COMMENT ON COLUMN {s}.instance.signals IS 'Control signals that are pending, as JSON.';
COMMENT ON COLUMN {s}.instance.head IS 'The snapshot without payloads and without what has columns, as JSON.';

CREATE VIEW {s}.task AS SELECT key AS instance_key, id AS instance_id, slot, tie, task_id, queue_class, queue_at,
  ready_class, available_since, token, claimed_at, expires_at, attempt, deliveries, priority, open, timer,
  input_task_id, last_failed_worker, worker_id
  FROM {s}.work WHERE task_id IS NOT NULL;
COMMENT ON VIEW {s}.task IS 'Tasks that may run or will, and their claims. Task '''' only completes a workflow, or has its control signals applied.';
COMMENT ON COLUMN {s}.task.slot IS '0 but for the tasks of a fork; 2147483647 for control signals.';
COMMENT ON COLUMN {s}.task.queue_class IS 'Null: not handed out, or claimed for ever. 0: a timer without a task. 1: control signals. 2^62: claimed; queue_at is when to look whether the claim has expired. Else ready_class: ready, or will be at queue_at.';
COMMENT ON COLUMN {s}.task.ready_class IS 'route.id * 2^27 + priority * 2^24 + a hash of last_failed_worker.';
COMMENT ON COLUMN {s}.task.open IS 'Whether the instance is in progress with no control signal pending.';
COMMENT ON COLUMN {s}.task.tie IS 'Orders tasks of an instance that are due at the same time: task_id in a fork; empty in slot 0, so that a step changes no index.';
COMMENT ON COLUMN {s}.task.worker_id IS 'Who claimed it; null: nobody, and token is of a claim that was given up.';

CREATE TABLE {s}.result (
  instance_key bigint NOT NULL,
  place bigint,
  token bigint,
  revision bigint,
  next_token bigint,
  task_id text COLLATE "C" NOT NULL,
  worker_id text COLLATE "C",
  status text COLLATE "C",
  next_instance_id text COLLATE "C",
  next_task_id text COLLATE "C",
  output bytea,
  PRIMARY KEY (instance_key, task_id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.1);
COMMENT ON TABLE {s}.result IS 'Outputs of completed tasks, and what is remembered of the last commit of each task.';
COMMENT ON COLUMN {s}.result.place IS 'Ascending in the order of completion; null where there is no output.';
COMMENT ON COLUMN {s}.result.token IS 'Of the claim under which the task was committed last; null where nothing is remembered.';

CREATE TABLE {s}.route (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  definition_hash text COLLATE "C" NOT NULL,
  tags text[] COLLATE "C" NOT NULL,
  tags_digest text COLLATE "C" NOT NULL,
  UNIQUE (definition_hash, tags_digest)
);
COMMENT ON TABLE {s}.route IS 'What decides which workers take a task: its definition and its tags, sorted.';

CREATE TABLE {s}.event (
  id bigint NOT NULL,
  instance_key bigint NOT NULL,
  signal_name text COLLATE "C" NOT NULL,
  event_id text COLLATE "C",
  payload bytea,
  PRIMARY KEY (instance_key, signal_name, id)
);
CREATE UNIQUE INDEX event_once ON {s}.event (instance_key, signal_name, event_id) WHERE event_id IS NOT NULL;
COMMENT ON TABLE {s}.event IS 'Events, first in first out by id; without a payload, ids of those that were taken.';

-- Only added to, so that no write waits for another one's; fold_counts makes one row of many.
CREATE TABLE {s}.instance_count (
  instances bigint NOT NULL,
  status text COLLATE "C" NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE {s}.instance_count IS 'How many instances there are, in parts to be added up.';

CREATE UNLOGGED TABLE {s}.waiter (
  id uuid PRIMARY KEY,
  until bigint NOT NULL,
  armed boolean NOT NULL,
  routes bigint[],
  last_route bigint NOT NULL
) WITH (fillfactor = 10);
COMMENT ON TABLE {s}.waiter IS 'Backends that wait for work, to be notified.';
`
