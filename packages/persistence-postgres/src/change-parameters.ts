import {
  type ClaimRequest,
  type InstanceWrite,
  isEnded,
  isOpen,
} from '@sayiir/persistence-core/adapter'
import { encodeStored, finalOutputOf, signalsOf } from './encode.ts'
import { filterText } from './filter.ts'
import { flags, jsonTexts, payloads, plain, texts } from './literals.ts'
import { classOf, markOf, slotOf } from './records.ts'
import { holdSlot, type TaskChange } from './task-changes.ts'

/** What a write leaves out of the text array that it is put in. */
export const NOTHING = ''

/** A task's row that changes, of the write with this number. */
export interface Change extends TaskChange {
  readonly w: number
  readonly route: number
}

interface ResultChange {
  readonly w: number
  readonly taskId: string
  /** -1: removed; -2: nothing but the commit. */
  readonly place: number
  readonly output: Uint8Array | null
  readonly isCommit: boolean
}

/** A parameter, and its type. */
export type Parameter = readonly [type: string, value: string]

/** Of each instance: what is compared, and what it becomes. */
export function instanceParameters(writes: readonly InstanceWrite[]): Parameter[] {
  const afters = writes.map(({ after }) => after)
  const befores = writes.map(({ before, after }) => before ?? after)
  const changesInput = writes.map(({ before, after }) => {
    const [old, input] = [before?.head.initialInput ?? null, after.head.initialInput]
    if (old === input) return false
    return old === null || input === null || Buffer.compare(old, input) !== 0
  })
  const isSameDefinition = befores.every(
    ({ head }, index) => head.definitionHash === afters[index]?.head.definitionHash,
  )
  const oldStatuses = befores.map(({ head }) => head.state.status)
  const isSameStatus = afters.every(({ head }, index) => head.state.status === oldStatuses[index])
  return [
    ['text[]', texts(writes.map(({ instanceId }) => instanceId))],
    ['uuid[]', plain(befores.map(({ generation }) => generation))],
    ['bigint[]', plain(befores.map(({ version }) => version))],
    ['bigint[]', plain(writes.map(({ at }) => at))],
    ['bigint[]', plain(writes.map(({ toleranceMs }) => toleranceMs))],
    ['text[]', texts(writes.map(({ holds }) => holds?.taskId ?? NOTHING))],
    ['integer[]', plain(writes.map(({ holds }) => holdSlot(holds?.taskId ?? NOTHING)))],
    ['text[]', texts(writes.map(({ holds }) => holds?.workerId ?? NOTHING))],
    ['bigint[]', plain(writes.map(({ holds }) => holds?.token ?? 0))],
    ['text[]', isSameDefinition ? '{}' : texts(afters.map(({ head }) => head.definitionHash))],
    ['bigint[]', plain(afters.map(({ head }) => head.revision))],
    ['bigint[]', plain(afters.map(({ head }) => head.updatedAt))],
    ['text[]', isSameStatus ? '{}' : texts(oldStatuses)],
    ['text[]', texts(afters.map(({ head }) => head.state.status))],
    ['boolean[]', flags(afters.map(isOpen))],
    [
      'boolean[]',
      flags(
        afters.map(({ head }) => isEnded(head.state.status)),
        false,
      ),
    ],
    ['text[]', texts(afters.map(signalsOf), NOTHING)],
    [
      'integer[]',
      plain(
        afters.map(({ queuedEvents }) => queuedEvents),
        0,
      ),
    ],
    [
      'boolean[]',
      flags(
        writes.map(({ event }) => event !== null),
        false,
      ),
    ],
    ['text', jsonTexts(afters.map(encodeStored))],
    ['boolean[]', flags(changesInput, false)],
    [
      'bytea[]',
      payloads(afters.map(({ head }, index) => (changesInput[index] ? head.initialInput : null))),
    ],
    ['bytea[]', payloads(afters.map(finalOutputOf))],
  ]
}

/** What becomes of tasks. */
export function taskParameters(tasks: readonly Change[]): Parameter[] {
  const kinds = [0, 0, 0, 0, 0, 0]
  for (const { kind } of tasks) kinds[kind] = (kinds[kind] ?? 0) + 1
  return [
    ['integer[]', plain(kinds)],
    ['integer[]', plain(tasks.map(({ w }) => w))],
    ['integer[]', plain(tasks.map(({ kind }) => kind))],
    [
      'integer[]',
      plain(
        tasks.map((task) => task.flags),
        0,
      ),
    ],
    ['text[]', texts(tasks.map(({ oldTask }) => oldTask))],
    [
      'integer[]',
      plain(
        tasks.map(({ oldSlot }) => oldSlot),
        0,
      ),
    ],
    ['text[]', texts(tasks.map(({ worker }) => worker))],
    ['bigint[]', plain(tasks.map(({ token }) => token))],
    [
      'integer[]',
      plain(
        tasks.map(({ slot }) => slot),
        0,
      ),
    ],
    [
      'text[]',
      texts(
        tasks.map(({ entry }) => entry?.taskId ?? NOTHING),
        NOTHING,
      ),
    ],
    [
      'bigint[]',
      plain(
        tasks.map(({ entry, route }) => (entry === null ? -1 : classOf(route, entry))),
        -1,
      ),
    ],
    [
      'bigint[]',
      plain(
        tasks.map(({ entry }) => entry?.availableSince ?? -1),
        -1,
      ),
    ],
    [
      'integer[]',
      plain(
        tasks.map(({ entry }) => entry?.priority ?? 3),
        3,
      ),
    ],
    [
      'bigint[]',
      plain(
        tasks.map(({ entry }) => entry?.attempt ?? 1),
        1,
      ),
    ],
    [
      'text[]',
      texts(
        tasks.map(({ entry }) => entry?.lastFailedWorker ?? null),
        null,
      ),
    ],
    [
      'text[]',
      texts(
        tasks.map(({ entry }) => entry?.inputTaskId ?? null),
        null,
      ),
    ],
    [
      'boolean[]',
      flags(
        tasks.map(({ entry }) => entry?.timer ?? false),
        false,
      ),
    ],
    [
      'bigint[]',
      plain(
        tasks.map(({ ttl }) => ttl),
        -1,
      ),
    ],
  ]
}

/** Results that are stored or removed, and what is remembered of commits. */
export function resultParameters(writes: readonly InstanceWrite[]): Parameter[] {
  const results = writes.flatMap((write, index) => resultChanges(write, index + 1))
  const commitOf = ({ w, isCommit }: ResultChange): InstanceWrite['commit'] =>
    isCommit ? (writes[w - 1]?.commit ?? null) : null
  return [
    ['integer[]', plain(results.map(({ w }) => w))],
    ['text[]', texts(results.map(({ taskId }) => taskId))],
    ['bigint[]', plain(results.map(({ place }) => place))],
    ['bytea[]', payloads(results.map(({ output }) => output))],
    ['text[]', texts(results.map((result) => commitOf(result)?.workerId ?? NOTHING))],
    ['bigint[]', plain(results.map((result) => commitOf(result)?.token ?? 0))],
  ]
}

function resultChanges(
  { removedResults, results, commit }: InstanceWrite,
  w: number,
): ResultChange[] {
  const stored = new Set(results.map(({ taskId }) => taskId))
  const changes: ResultChange[] = results.map(({ taskId, order, output }) => ({
    ...{ w, taskId, place: order, output },
    isCommit: commit?.taskId === taskId,
  }))
  if (removedResults !== 'all') {
    for (const taskId of removedResults) {
      if (stored.has(taskId)) continue
      changes.push({ w, taskId, place: -1, output: null, isCommit: false })
    }
  }
  if (commit !== null && !stored.has(commit.taskId)) {
    changes.push({ w, taskId: commit.taskId, place: -2, output: null, isCommit: true })
  }
  return changes
}

/** What only some writes have. */
export function sideParameters(writes: readonly InstanceWrite[]): Parameter[] {
  const which = (wanted: (write: InstanceWrite) => boolean): string =>
    plain(writes.flatMap((write, index) => (wanted(write) ? [index + 1] : [])))
  const hasSignals = ({ after }: InstanceWrite): boolean =>
    after.cancel !== null || after.pause !== null
  const hadSignals = ({ before }: InstanceWrite): boolean =>
    before !== null && (before.cancel !== null || before.pause !== null)
  const events = writes.flatMap(({ event }, index) =>
    event === null ? [] : [{ event, w: index + 1 }],
  )
  const taken = writes.flatMap(({ takenEvent }, index) =>
    takenEvent === null ? [] : [{ takenEvent, w: index + 1 }],
  )
  return [
    ['integer[]', which(({ removedResults }) => removedResults === 'all')],
    ['integer[]', which(isToggled)],
    ['integer[]', which(hasSignals)],
    ['integer[]', which((write) => hadSignals(write) && !hasSignals(write))],
    ['integer[]', plain(events.map(({ w }) => w))],
    ['text[]', texts(events.map(({ event }) => event.signalName))],
    ['text[]', texts(events.map(({ event }) => event.eventId))],
    ['bytea[]', payloads(events.map(({ event }) => event.payload))],
    ['integer[]', plain(taken.map(({ w }) => w))],
    ['text[]', texts(taken.map(({ takenEvent }) => takenEvent))],
  ]
}

/** What is claimed next. */
export function nextParameters(writes: readonly InstanceWrite[]): Parameter[] {
  const next = writes.flatMap(({ claimNext, after }, index) =>
    claimNext === null ? [] : [{ ...claimNext, after, w: index + 1 }],
  )
  return [
    ['integer[]', plain(next.map(({ w }) => w))],
    ['text[]', texts(next.map(({ own }) => own ?? NOTHING))],
    [
      'integer[]',
      plain(next.map(({ own, after }) => (own === null ? 0 : slotOf(after.head, own)))),
    ],
    ['text[]', texts(next.map(({ request }) => request.workerId))],
    ['bigint[]', plain(next.map(({ request }) => markOf(request.workerId)))],
    ['bigint[]', plain(next.map(({ request }) => request.ttlMs ?? -1))],
    ['text[]', texts(next.map(({ request }) => filterText(request.filter)))],
    ['integer[]', plain(groupsOf(next.map(({ request }) => request)))],
  ]
}

/** Whether all tasks that stay are handed out from now on, or no more. */
function isToggled({ before, after }: InstanceWrite): boolean {
  return before !== null && after.entries.length > 0 && isOpen(before) !== isOpen(after)
}

/** Numbers from 1, the same for those that ask for the same. */
function groupsOf(requests: readonly ClaimRequest[]): number[] {
  const groups = new Map<string, number>()
  return requests.map(({ workerId, ttlMs, filter }) => {
    const key = `${ttlMs} ${JSON.stringify(workerId)} ${filterText(filter)}`
    const group = groups.get(key) ?? groups.size + 1
    groups.set(key, group)
    return group
  })
}
