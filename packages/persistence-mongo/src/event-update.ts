import { type InstanceWrite, isEnded } from '@sayiir/persistence-core/adapter'
import type { Document } from 'mongodb'
import { literal } from './expressions.ts'
import { digest, type EventDoc, type PayloadDoc } from './records.ts'

/** The id of an event, of any signal, in a few bytes: an instance remembers all that came. */
export function eventKey(signalName: string, eventId: string): string {
  return digest(JSON.stringify([signalName, eventId])).slice(0, 22)
}

/** An event that waits, with a name of its own. */
export function eventDoc(signalName: string, payload: PayloadDoc, id: string): EventDoc {
  return { s: signalName, p: payload, y: id }
}

/** What a write does to the events. */
export function eventSets(
  { after, takenEvent, event }: InstanceWrite,
  packed: PayloadDoc | null,
  id: string,
): Record<string, unknown> {
  if (isEnded(after.head.state.status)) return { ev: [], ek: [] }
  const sets: Record<string, unknown> = {}
  let events: Document | string = '$ev'
  if (takenEvent !== null) events = withoutFirst(takenEvent)
  if (event !== null && packed !== null) {
    const added = literal([eventDoc(event.signalName, packed, id)])
    events = { $concatArrays: [events, added] }
  }
  if (events !== '$ev') sets.ev = events
  if (event?.eventId != null) {
    const key = literal([eventKey(event.signalName, event.eventId)])
    sets.ek = { $concatArrays: ['$ek', key] }
  }
  return sets
}

/** The queue without the oldest event of a signal. */
export function withoutFirst(signalName: string): Document {
  const isIts = { $eq: ['$$v.s', literal(signalName)] }
  const first = { $first: { $filter: { input: '$ev', as: 'v', cond: isIts } } }
  return {
    $let: {
      vars: { first },
      in: { $filter: { input: '$ev', as: 'v', cond: { $ne: ['$$v.y', '$$first.y'] } } },
    },
  }
}
