import * as fc from 'fast-check'
import { expect } from 'vitest'
import type { SignalKind } from '../signal-store.ts'
import { bytes, text } from './context.ts'
import { agree } from './history-compare.ts'
import {
  advance,
  applySignals,
  hasEnded,
  isTimeUp,
  Refusal,
  SIGNAL_NAME,
  SIGNAL_NAMES,
  takeQueued,
} from './history-model.ts'
import { anInstance, type HistoryCommand, step } from './history-step.ts'

/** Mostly a pause, after which an instance goes on. */
const aKind = fc.constantFrom<SignalKind>('pause', 'pause', 'pause', 'cancel')

export const signal: fc.Arbitrary<HistoryCommand> = step<{ instance: string; kind: SignalKind }>(
  'storeSignal',
  { instance: anInstance, kind: aKind },
  async ({ instance: id, kind }, model, { backend }) => {
    const reason = model.output()
    await agree(
      () => {
        const instance = model.get(id)
        if (instance.status === (kind === 'cancel' ? 'cancelled' : 'paused')) return
        if (hasEnded(instance)) {
          throw new Refusal(kind === 'cancel' ? 'CANNOT_CANCEL' : 'CANNOT_PAUSE')
        }
        instance.signals.set(kind, reason)
      },
      () => backend.storeSignal(id, kind, { reason }),
    )
  },
)

export const clearSignal: fc.Arbitrary<HistoryCommand> = step<{
  instance: string
  kind: SignalKind
}>(
  'clearSignal',
  { instance: anInstance, kind: aKind },
  async ({ instance: id, kind }, model, { backend }) => {
    model.instances.get(id)?.signals.delete(kind)
    await backend.clearSignal(id, kind)
  },
)

export const check: fc.Arbitrary<HistoryCommand> = step<{
  instance: string
  which: SignalKind | 'both'
}>(
  'check',
  { instance: anInstance, which: fc.constantFrom('cancel', 'pause', 'both', 'both') },
  async ({ instance: id, which }, model, { backend }) => {
    const instance = model.instances.get(id)
    const applied =
      instance !== undefined && applySignals(instance, which === 'both' ? null : which)
    if (applied) instance.revision += 1
    if (which === 'cancel') expect(await backend.checkAndCancel(id)).toBe(applied)
    else if (which === 'pause') expect(await backend.checkAndPause(id)).toBe(applied)
    else {
      const status = instance?.status === 'paused' ? 'paused' : 'cancelled'
      expect(await backend.checkControlSignals(id)).toBe(applied ? status : null)
    }
  },
)

export const unpause: fc.Arbitrary<HistoryCommand> = step<{ instance: string }>(
  'unpause',
  { instance: anInstance },
  async ({ instance: given }, model, { backend }) => {
    const paused = [...model.instances.values()].find(({ status }) => status === 'paused')
    const id = paused?.id ?? given
    await agree(
      () => {
        const instance = model.get(id)
        if (instance.status !== 'paused') throw new Refusal('CANNOT_PAUSE')
        instance.status = 'in-progress'
        instance.text = null
        takeQueued(instance)
        instance.revision += 1
        return instance.revision
      },
      async () => (await backend.unpause(id)).revision,
    )
  },
)

export const sendEvent: fc.Arbitrary<HistoryCommand> = step<{
  instance: string
  name: string
  eventId: string | null
}>(
  'sendEvent',
  {
    instance: anInstance,
    name: fc.constantFrom(SIGNAL_NAME, ...SIGNAL_NAMES),
    eventId: fc.constantFrom(null, 'e1', 'e1', 'e2'),
  },
  async ({ instance: id, name, eventId }, model, { backend }) => {
    const payload = model.output()
    await agree(
      () => {
        const instance = model.open(id)
        const key = `${name} ${eventId}`
        if (eventId !== null && instance.eventIds.has(key)) return
        if (isTimeUp(instance)) {
          advance(instance)
          instance.revision += 1
          if (hasEnded(instance)) throw new Refusal('TERMINAL')
        }
        if (eventId !== null) instance.eventIds.add(key)
        const waits = instance.status === 'in-progress' && instance.place?.kind === 'signal'
        if (waits && name === SIGNAL_NAME) {
          advance(instance, payload)
          instance.revision += 1
        } else {
          instance.events.set(name, [...(instance.events.get(name) ?? []), payload])
        }
      },
      () => backend.sendEvent(id, name, bytes(payload), eventId === null ? {} : { eventId }),
    )
  },
)

export const consumeEvent: fc.Arbitrary<HistoryCommand> = step<{ instance: string; name: string }>(
  'consumeEvent',
  { instance: anInstance, name: fc.constantFrom(...SIGNAL_NAMES) },
  async ({ instance: id, name }, model, { backend }) => {
    const expected = model.instances.get(id)?.events.get(name)?.shift() ?? null
    expect(text(await backend.consumeEvent(id, name))).toBe(expected)
  },
)

/** For a durable backend: what was acknowledged is there when the store is opened again. */
export const reopen: fc.Arbitrary<HistoryCommand> = step<{ before: 'close' | 'abandon' }>(
  'reopen',
  { before: fc.constantFrom('close', 'abandon') },
  async ({ before }, _, store) => store.open(before),
)
