import {
  type ClaimRequest,
  type DispatchEntry,
  type InstanceWrite,
  isEnded,
  isOpen,
} from '@sayiir/persistence-core/adapter'
import { encodeStored, finalOutputOf, signalsOf } from './encode.ts'
import { filterText } from './filter.ts'
import { Columns, jsonTexts, plain } from './literals.ts'
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

/** The arguments of a call with these parameters, which all go over as texts. */
export function casts(parameters: readonly Parameter[]): string {
  return parameters
    .map(([type], index) =>
      type === 'text' ? `$${index + 1}::text` : `$${index + 1}::text::${type}`,
    )
    .join(', ')
}

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
  const write = new Columns(writes)
  const before = new Columns(befores)
  const after = new Columns(afters)
  const oldStatuses = befores.map(({ head }) => head.state.status)
  const isSameStatus = afters.every(({ head }, index) => head.state.status === oldStatuses[index])
  return [
    ['text[]', write.texts(({ instanceId }) => instanceId)],
    ['uuid[]', before.plain(({ generation }) => generation)],
    ['bigint[]', before.plain(({ version }) => version)],
    ['bigint[]', write.plain(({ at }) => at)],
    ['bigint[]', write.plain(({ toleranceMs }) => toleranceMs)],
    ['text[]', write.texts(({ holds }) => holds?.taskId ?? NOTHING)],
    ['integer[]', write.plain(({ holds }) => holdSlot(holds?.taskId ?? NOTHING))],
    ['text[]', write.texts(({ holds }) => holds?.workerId ?? NOTHING)],
    ['bigint[]', write.plain(({ holds }) => holds?.token ?? 0)],
    ['text[]', isSameDefinition ? '{}' : after.texts(({ head }) => head.definitionHash)],
    ['bigint[]', after.plain(({ head }) => head.revision)],
    ['bigint[]', after.plain(({ head }) => head.updatedAt)],
    ['text[]', isSameStatus ? '{}' : before.texts(({ head }) => head.state.status)],
    ['text[]', after.texts(({ head }) => head.state.status)],
    ['boolean[]', after.flags(isOpen)],
    ['boolean[]', after.flags(({ head }) => isEnded(head.state.status), false)],
    ['text[]', after.texts(signalsOf, NOTHING)],
    ['integer[]', after.plain(({ queuedEvents }) => queuedEvents, 0)],
    ['boolean[]', write.flags(({ event }) => event !== null, false)],
    ['text', jsonTexts(afters.map(encodeStored))],
    ['boolean[]', write.flags((_, index) => changesInput[index] === true, false)],
    [
      'bytea[]',
      after.payloads(({ head }, index) => (changesInput[index] ? head.initialInput : null)),
    ],
    ['bytea[]', after.payloads(finalOutputOf)],
  ]
}

/** What becomes of tasks. */
export function taskParameters(tasks: readonly Change[]): Parameter[] {
  const task = new Columns(tasks)
  const kinds = [0, 0, 0, 0, 0, 0]
  for (const { kind } of tasks) kinds[kind] = (kinds[kind] ?? 0) + 1
  return [
    ['integer[]', plain(kinds)],
    ['integer[]', task.plain(({ w }) => w)],
    ['integer[]', task.plain(({ kind }) => kind)],
    ['integer[]', task.plain((change) => change.flags, 0)],
    ['text[]', task.texts(({ oldTask }) => oldTask)],
    ['integer[]', task.plain(({ oldSlot }) => oldSlot, 0)],
    ['text[]', task.texts(({ worker }) => worker)],
    ['bigint[]', task.plain(({ token }) => token)],
    ['integer[]', task.plain(({ slot }) => slot, 0)],
    ['text[]', task.texts(({ entry }) => entry?.taskId ?? NOTHING, NOTHING)],
    [
      'bigint[]',
      task.plain(({ entry, route }) => (entry === null ? -1 : classOf(route, entry)), -1),
    ],
    ['bigint[]', task.plain(({ entry }) => entry?.availableSince ?? -1, -1)],
    ...entryParameters(task),
    ['bigint[]', task.plain(({ ttl }) => ttl, -1)],
  ]
}

/** Of an entry what most have alike. */
export function entryParameters(
  task: Columns<{ readonly entry: DispatchEntry | null } | null>,
): Parameter[] {
  return [
    ['integer[]', task.plain((one) => one?.entry?.priority ?? 3, 3)],
    ['bigint[]', task.plain((one) => one?.entry?.attempt ?? 1, 1)],
    ['text[]', task.texts((one) => one?.entry?.lastFailedWorker ?? null, null)],
    ['text[]', task.texts((one) => one?.entry?.inputTaskId ?? null, null)],
    ['boolean[]', task.flags((one) => one?.entry?.timer ?? false, false)],
  ]
}

/** Results that are stored or removed, and what is remembered of commits. */
export function resultParameters(writes: readonly InstanceWrite[]): Parameter[] {
  const results = writes.flatMap((write, index) => resultChanges(write, index + 1))
  const result = new Columns(results)
  const commitOf = ({ w, isCommit }: ResultChange): InstanceWrite['commit'] =>
    isCommit ? (writes[w - 1]?.commit ?? null) : null
  return [
    ['integer[]', result.plain(({ w }) => w)],
    ['text[]', result.texts(({ taskId }) => taskId)],
    ['bigint[]', result.plain(({ place }) => place)],
    ['bytea[]', result.payloads(({ output }) => output)],
    ['text[]', result.texts((one) => commitOf(one)?.workerId ?? NOTHING)],
    ['bigint[]', result.plain((one) => commitOf(one)?.token ?? 0)],
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
  const event = new Columns(events)
  const takenEvent = new Columns(taken)
  return [
    ['integer[]', which(({ removedResults }) => removedResults === 'all')],
    ['integer[]', which(isToggled)],
    ['integer[]', which(hasSignals)],
    ['integer[]', which((write) => hadSignals(write) && !hasSignals(write))],
    ['integer[]', event.plain(({ w }) => w)],
    ['text[]', event.texts((one) => one.event.signalName)],
    ['text[]', event.texts((one) => one.event.eventId)],
    ['bytea[]', event.payloads((one) => one.event.payload)],
    ['integer[]', takenEvent.plain(({ w }) => w)],
    ['text[]', takenEvent.texts((one) => one.takenEvent)],
  ]
}

/** What is claimed next. */
export function nextParameters(writes: readonly InstanceWrite[]): Parameter[] {
  const claims = writes.flatMap(({ claimNext, after }, index) =>
    claimNext === null ? [] : [{ ...claimNext, after, w: index + 1 }],
  )
  const next = new Columns(claims)
  return [
    ['integer[]', next.plain(({ w }) => w)],
    ['text[]', next.texts(({ own }) => own ?? NOTHING)],
    ['integer[]', next.plain(({ own, after }) => (own === null ? 0 : slotOf(after.head, own)))],
    ['text[]', next.texts(({ request }) => request.workerId)],
    ['bigint[]', next.plain(({ request }) => markOf(request.workerId))],
    ['bigint[]', next.plain(({ request }) => request.ttlMs ?? -1)],
    ['text[]', next.texts(({ request }) => filterText(request.filter))],
    ['integer[]', plain(groupsOf(claims.map(({ request }) => request)))],
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
