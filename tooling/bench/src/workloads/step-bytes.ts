import {
  completeTask,
  createSnapshot,
  moveTo,
  type PersistentBackend,
} from '@sayiir/persistence-core'
import type { Case } from '../case.ts'
import type { BackendModule, Definition } from '../definition.ts'
import type { Figure } from '../figure.ts'
import type { Lab } from '../lab.ts'
import { mean } from '../numbers.ts'
import { outputOf } from '../payload.ts'
import { between, type Counts, startMeter } from './meter.ts'

const ID = 'one'
const EARLY = 10
/** Averaged: which page a row falls on is chance. */
const AROUND = 5

/** `S6`: bytes of an early and of a late step of one instance. */
export function stepBytes(definition: Definition): Case[] {
  return [
    stepCase(definition, 'commitTask', () => stepByCommit),
    stepCase(definition, 'saveSnapshot', stepBySave),
  ]
}

type Step = (backend: PersistentBackend, step: number) => Promise<unknown>

function stepCase({ backend: module }: Definition, what: string, start: () => Step): Case {
  return {
    id: `S6:${what}`,
    workload: 'S6',
    async run(lab) {
      const counts = await countSteps(lab, module, start())
      const early = average(counts.slice(EARLY - 3, EARLY - 3 + AROUND))
      const late = average(counts.slice(-AROUND))
      return Object.keys(late).flatMap((name): Figure[] => {
        const base = { workload: 'S6', what: `${what}: ${name}` } as const
        const first = `step ${EARLY}`
        const last = `step ${lab.sizes.history.toLocaleString('en')}`
        return [
          { ...base, setting: first, value: early[name] ?? 0 },
          {
            ...base,
            setting: last,
            value: late[name] ?? 0,
            than: `S6:${what}: ${name}:${first}`,
          },
        ]
      })
    },
  }
}

/** In this process: a client's own counters can be read. */
async function countSteps(lab: Lab, module: string, step: Step): Promise<Counts[]> {
  const code: BackendModule = await import(module)
  await using meter = await startMeter(lab.server)
  const place = lab.place('S6', 1, meter.url)
  const counts: Counts[] = []
  {
    await using backend = await code.connect(place)
    await backend.saveSnapshot(
      createSnapshot({
        instanceId: ID,
        definitionHash: 'definition',
        initialInput: output(0),
        position: { kind: 'at-task', taskId: 'step-1' },
      }),
    )
    for (let index = 1; index <= lab.sizes.history; index += 1) {
      const before = await meter.read(place)
      await step(backend, index)
      counts.push(between(before, await meter.read(place)))
    }
  }
  await code.drop?.(place)
  return counts
}

async function stepByCommit(backend: PersistentBackend, step: number): Promise<void> {
  const [claimed] = await backend.claimAvailableTasks({ workerId: 'w', limit: 1, ttlMs: 60_000 })
  if (claimed === undefined) throw new Error(`step ${step} is not available`)
  await backend.commitTask({
    claim: claimed.claim,
    outcome: {
      kind: 'completed',
      output: output(step),
      next: { position: { kind: 'at-task', taskId: `step-${step + 1}` } },
    },
  })
}

function stepBySave(): Step {
  let snapshot = createSnapshot({ instanceId: ID, definitionHash: 'definition' })
  return async (backend, step) => {
    if (step === 1) snapshot = await backend.loadSnapshot(ID)
    const completed = completeTask(snapshot, `step-${step}`, output(step))
    snapshot = await backend.saveSnapshot(
      moveTo(completed, { kind: 'at-task', taskId: `step-${step + 1}` }),
    )
  }
}

function output(step: number): Uint8Array {
  return new TextEncoder().encode(outputOf(ID, step))
}

function average(counts: readonly Counts[]): Counts {
  const names = Object.keys(counts[0] ?? {})
  return Object.fromEntries(
    names.map((name) => [name, mean(counts.map((count) => count[name] ?? 0))]),
  )
}
