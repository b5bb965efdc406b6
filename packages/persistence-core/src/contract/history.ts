import * as fc from 'fast-check'
import { type ContractContext, type ContractTest, rule } from './context.ts'
import {
  claimAvailable,
  claimTask,
  extend,
  find,
  findAll,
  release,
  renew,
  wait,
} from './history-claim-commands.ts'
import { commitTask } from './history-commit-command.ts'
import { compareAll, compareRest, HistoryStore } from './history-compare.ts'
import { Model } from './history-model.ts'
import {
  deleteInstance,
  restart,
  save,
  saveTaskResult,
  saveWithClaim,
  startAll,
} from './history-save-commands.ts'
import {
  check,
  clearSignal,
  consumeEvent,
  reopen,
  sendEvent,
  signal,
  unpause,
} from './history-signal-commands.ts'
import type { HistoryCommand } from './history-step.ts'

/** Fixed, so that a run is the same everywhere. `SAYIIR_CONTRACT_SEED` tries others. */
const DEFAULT_SEED = 20_261_124
/** Histories of each test; `SAYIIR_CONTRACT_RUNS` for a longer look. */
const DEFAULT_RUNS = 15
const MAX_STEPS = 40
/** Milliseconds for that many histories, on a slow store. A failure that is still being shrunk then is told as far as it has come. */
const TIME_LIMIT_MS = 60_000

const claiming = [claimAvailable, claimTask, renew, extend, release]
const saving = [save, saveWithClaim, saveTaskResult, deleteInstance]
const signalling = [signal, clearSignal, check, unpause]
const waiting = [sendEvent, consumeEvent]

function fromEnvironment(name: string, fallback: number, min: number): number {
  const value = process.env[name]
  if (value === undefined || value === '') return fallback
  const number = Number(value)
  if (!Number.isSafeInteger(number) || number < min)
    throw new RangeError(`${name} must be a whole number, ${min} or more`)
  return number
}

function runs(): number {
  return fromEnvironment('SAYIIR_CONTRACT_RUNS', DEFAULT_RUNS, 1)
}

function timeLimitMs(): number {
  // A timer takes no more than 2 ** 31 - 1, also twice.
  return Math.min(TIME_LIMIT_MS * Math.max(1, runs() / DEFAULT_RUNS), 1_000_000_000)
}

/** Takes all steps on a fresh store, which starts with something to do, and looks at all of it in the end. */
async function follow(context: ContractContext, steps: Iterable<HistoryCommand>): Promise<void> {
  const store = new HistoryStore(context)
  const model = new Model()
  try {
    await store.open()
    await startAll(model, store)
    await fc.asyncModelRun(() => ({ model, real: store }), steps)
    await findAll(model, store.backend, 'w0')
    await compareAll(model, store.backend)
    await compareRest(model, store.backend)
  } finally {
    await store.close()
  }
}

/** Follows random histories, and shrinks the first in which store and model differ. */
async function explore(
  context: ContractContext,
  commands: readonly fc.Arbitrary<HistoryCommand>[],
): Promise<void> {
  const steps = context.capabilities.durable ? [...commands, reopen] : [...commands]
  await fc.assert(
    fc.asyncProperty(fc.commands(steps, { maxCommands: MAX_STEPS, size: 'max' }), (history) =>
      follow(context, history),
    ),
    {
      seed: fromEnvironment('SAYIIR_CONTRACT_SEED', DEFAULT_SEED, Number.MIN_SAFE_INTEGER),
      numRuns: runs(),
      interruptAfterTimeLimit: timeLimitMs(),
      markInterruptAsFailure: true,
    },
  )
}

function history(
  id: string,
  title: string,
  commands: readonly fc.Arbitrary<HistoryCommand>[],
): ContractTest {
  return rule(id, `whole histories: ${title}`, (t) => explore(t, commands), {
    timeoutMs: 2 * timeLimitMs(),
  })
}

/** What brings a history on, in each of them. */
const working = [claimAvailable, claimAvailable, claimTask, commitTask, commitTask, restart, find]

/** Whole histories against a model of the rules. */
export const historyTests: readonly ContractTest[] = [
  history('S2', 'saves, results and deletions count and refuse as they must', [
    ...working,
    ...saving,
  ]),
  history('C4', 'only the claim that is held can be used', [
    ...working,
    ...claiming,
    ...claiming,
    save,
    saveWithClaim,
    check,
    signal,
  ]),
  history('D6', 'commits store, move, release and claim in one step, once', [
    ...working,
    commitTask,
    commitTask,
    commitTask,
    unpause,
    signal,
    sendEvent,
    wait,
  ]),
  history('E4', 'each event is taken once, wherever the instance stands', [
    ...working,
    ...waiting,
    ...waiting,
    save,
    check,
    signal,
    signal,
    unpause,
  ]),
  history('G4', 'signals stop instances, and none hangs', [
    ...working,
    ...signalling,
    ...claiming,
    unpause,
    saveWithClaim,
    sendEvent,
    wait,
  ]),
]
