/** Never edited once released: a change is a migration of its own. Names in braces get the prefix. */
export const initial: string = `
-- 'sequence' numbers claims (their fencing tokens) and instances (their generations), and only ever grows.
CREATE TABLE {meta} (
  key TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO {meta} VALUES ('sequence', 0);

-- One row an instance. Times are epoch milliseconds.
CREATE TABLE {instance} (
  id TEXT PRIMARY KEY,
  definition_hash TEXT NOT NULL,
  status TEXT NOT NULL,
  revision INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  ended_at INTEGER,
  -- Control signals that are pending: 1 cancel, 2 pause, 3 both.
  signals INTEGER NOT NULL,
  -- Tells this instance from a deleted one of the same id.
  generation INTEGER NOT NULL,
  -- The last number given to a result, how many results there are, and the sum of their numbers' hashes.
  result_seq INTEGER NOT NULL,
  result_count INTEGER NOT NULL,
  result_digest INTEGER NOT NULL,
  -- The snapshot without payloads, as JSON.
  head TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX {instance_by_status} ON {instance} (status, ended_at);

-- What a step must not rewrite: 'initial-input' and 'final-output'.
CREATE TABLE {payload} (
  instance_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  bytes BLOB NOT NULL,
  PRIMARY KEY (instance_id, kind)
) STRICT, WITHOUT ROWID;

-- Outputs of completed tasks; ascending seq is the order of completion. Not WITHOUT ROWID: outputs
-- in the middle of a tree split its pages, so that a late step would write several times the bytes.
CREATE TABLE {result} (
  id INTEGER PRIMARY KEY,
  instance_id TEXT NOT NULL,
  task_id TEXT NOT NULL,
  seq INTEGER NOT NULL,
  output BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX {result_by_task} ON {result} (instance_id, task_id);

-- Which workers serve a task: definition and sorted tags (JSON).
CREATE TABLE {route} (
  id INTEGER PRIMARY KEY,
  definition_hash TEXT NOT NULL,
  tags TEXT NOT NULL,
  UNIQUE (definition_hash, tags)
) STRICT;

-- Runnable tasks, and timers that only complete a workflow (task_id '').
CREATE TABLE {task} (
  instance_id TEXT NOT NULL,
  task_id TEXT NOT NULL,
  route_id INTEGER NOT NULL,
  -- '' for none.
  last_failed_worker TEXT NOT NULL,
  priority INTEGER NOT NULL,
  available_since INTEGER NOT NULL,
  -- 0 not handed out (paused or signalled), 1 ready or will be, 2 claimed, 3 a timer without a task.
  queue INTEGER NOT NULL,
  -- 1: a delay or signal must be advanced first.
  timer INTEGER NOT NULL,
  input_task_id TEXT,
  attempt INTEGER NOT NULL,
  deliveries INTEGER NOT NULL,
  -- The last claim that was not given up, live or expired.
  worker_id TEXT,
  token INTEGER,
  claimed_at INTEGER,
  expires_at INTEGER,
  PRIMARY KEY (instance_id, task_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX {task_ready} ON {task}
  (route_id, last_failed_worker, priority, available_since, instance_id, task_id) WHERE queue = 1;
CREATE INDEX {task_claimed} ON {task} (expires_at) WHERE queue = 2;
CREATE INDEX {task_timer} ON {task} (available_since) WHERE queue = 3;
CREATE INDEX {task_held} ON {task} (expires_at) WHERE queue = 0 AND token IS NOT NULL;

-- The last commit of a task, to answer when it is repeated.
CREATE TABLE {commit_record} (
  instance_id TEXT NOT NULL,
  task_id TEXT NOT NULL,
  worker_id TEXT NOT NULL,
  token INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  status TEXT NOT NULL,
  next_instance_id TEXT,
  next_task_id TEXT,
  next_token INTEGER,
  PRIMARY KEY (instance_id, task_id)
) STRICT, WITHOUT ROWID;

-- Pending control signals, their texts as JSON; due_at is when the last live claim ends, null while one never does.
CREATE TABLE {signal} (
  instance_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  reason TEXT,
  requested_by TEXT,
  requested_at INTEGER NOT NULL,
  due_at INTEGER,
  PRIMARY KEY (instance_id, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX {signal_due} ON {signal} (due_at);

-- Queued events, first in first out by id.
CREATE TABLE {event} (
  id INTEGER PRIMARY KEY,
  instance_id TEXT NOT NULL,
  signal_name TEXT NOT NULL,
  payload BLOB NOT NULL
) STRICT;
CREATE INDEX {event_by_signal} ON {event} (instance_id, signal_name);

-- Ids of events that were accepted, also after they were consumed.
CREATE TABLE {event_seen} (
  instance_id TEXT NOT NULL,
  signal_name TEXT NOT NULL,
  event_id TEXT NOT NULL,
  PRIMARY KEY (instance_id, signal_name, event_id)
) STRICT, WITHOUT ROWID;
`
