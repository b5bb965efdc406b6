import type { InstanceWrite } from '@sayiir/persistence-core/adapter'
import { type ArgumentWriter, type Packed, pack } from './argument-writer.ts'
import type { Shard } from './layout.ts'
import { CLASS_LENGTH, classOf, placeOf } from './places.ts'
import { ALONE, recordText } from './records.ts'

const NOTHING = new Uint8Array(0)

/** Arguments of `scripts/create.lua` after the call's number: it writes plain starts, with a fixed number of commands for all. */
export function creationArguments(shard: Shard, writes: readonly InstanceWrite[]): Packed {
  return pack((args) => {
    pushCreations(args, writes)
    return shard.keys
  })
}

function pushCreations(args: ArgumentWriter, writes: readonly InstanceWrite[]): void {
  const classes: string[] = []
  args.small(writes.length)
  for (const { instanceId, after, at, toleranceMs } of writes) {
    const { definitionHash, initialInput } = after.head
    const entry = after.entries[0]
    const place = entry === undefined ? '' : placeOf(entry, definitionHash)
    const digest = place.slice(0, CLASS_LENGTH)
    if (entry !== undefined && !classes.includes(digest)) {
      classes.push(digest, classOf(entry, definitionHash))
    }
    args.text(instanceId)
    args.text(recordText(after, ALONE))
    args.text(entry === undefined ? '' : entry.taskId)
    args.text(place)
    args.bytes(initialInput ?? NOTHING)
    args.small(initialInput === null ? 0 : 1)
    args.push(Math.max(at - toleranceMs, 0), at + toleranceMs)
  }
  for (const text of classes) args.text(text)
}
