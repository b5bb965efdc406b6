/** What else is told of the tables to whoever looks at them with `\d+`. */
const COMMENTS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  instance: {
    created_at: 'When it was saved first.',
    updated_at: 'When its snapshot was changed last.',
    ended_at: 'When it completed, failed or was cancelled; null: it has not.',
    queued_events: 'Events that wait in table event.',
    has_events: 'Whether it ever had rows in table event.',
    id: 'As the program named it.',
    definition_hash: 'Which workflow it is of.',
    initial_input: 'What it was started with.',
    final_output: 'What it completed with.',
  },
  result: {
    instance_key: 'instance.key; ascending, so that old ones are together.',
    revision: 'Of the instance, by the last commit of the task.',
    next_token: 'Of the claim that the last commit made.',
    task_id: 'The task, or the signal whose payload this is.',
    worker_id: 'Who committed the task last.',
    status: 'Of the instance, by the last commit of the task.',
    next_instance_id: 'Of the task that the last commit claimed.',
    next_task_id: 'Of the task that the last commit claimed.',
    output: 'What the task returned.',
  },
  route: {
    id: 'Part of task.ready_class.',
    definition_hash: 'The definition.',
    tags: 'The tags.',
    tags_digest: 'Stands for the tags in the index.',
  },
  task: {
    instance_key: 'instance.key.',
    queue_at: 'From when on the queue hands it out, or looks at it.',
    available_since: 'When it became due, or will.',
    token: 'Of the last claim; each is greater than all before.',
    claimed_at: 'When it was claimed last.',
    expires_at: 'When that claim ends, and others may take the task; null: never.',
    attempt: '1, and one more with each retry.',
    deliveries: 'How often it was claimed since it came up.',
    priority: '1, most urgent, to 5.',
    timer: 'Whether a delay or signal stands before it.',
    instance_id: 'instance.id.',
    task_id: 'As the program named it.',
    input_task_id: 'Whose output is its input; null: the initial input.',
    last_failed_worker: 'Who failed it last: others are preferred.',
  },
  event: {
    id: 'Ascending in the order of arrival.',
    instance_key: 'instance.key.',
    signal_name: 'What it is for.',
    event_id: 'By which one that is sent again is recognised.',
    payload: 'What it brings; null: it was taken.',
  },
  instance_count: {
    instances: 'So many more of this status, or fewer.',
    status: 'As in table instance.',
  },
  waiter: {
    id: 'The backend.',
    until: 'When it counts as gone, epoch milliseconds.',
    armed: 'Whether the next write that has work for it notifies it.',
    routes: 'route.id of what it takes; null: everything.',
    last_route: 'The last route.id when it looked; it is notified of any later one.',
  },
}

/** Never edited once released: a change is a migration of its own. `{s}` is the schema. */
export const comments: string = Object.entries(COMMENTS)
  .flatMap(([table, columns]) =>
    Object.entries(columns).map(
      ([column, text]) => `COMMENT ON COLUMN {s}.${table}.${column} IS '${text}';`,
    ),
  )
  .join('\n')
  // The table has what its views have.
  .concat(`
DO $$
DECLARE
  v_column record;
BEGIN
  FOR v_column IN
    SELECT a.attname AS name, col_description(v.attrelid, v.attnum) AS text FROM pg_attribute a
    JOIN pg_attribute v ON v.attname = a.attname
      AND v.attrelid IN ('{s}.instance'::regclass, '{s}.task'::regclass)
    WHERE a.attrelid = '{s}.work'::regclass AND a.attnum > 0
  LOOP
    EXECUTE format('COMMENT ON COLUMN {s}.work.%I IS %L', v_column.name, v_column.text);
  END LOOP;
END $$;`)
