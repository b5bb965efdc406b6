import type { InstanceWrite } from '@sayiir/persistence-core/adapter'
import type { ArgumentWriter } from './argument-writer.ts'
import type { Shard } from './layout.ts'
import { CLASS_LENGTH, classOf, placeOf } from './places.ts'
import { ALONE, recordText } from './records.ts'

const NOTHING = new Uint8Array(0)

/** Arguments of `scripts/create.lua` after the call's number: it writes plain starts, with a fixed number of commands for all. */
export function creationArguments(
  args: ArgumentWriter,
  shard: Shard,
  writes: readonly InstanceWrite[],
): { readonly keys: readonly string[]; readonly message: Buffer } {
  const classes: string[] = []
  args.start()
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
    args.number(Math.max(at - toleranceMs, 0))
    args.number(at + toleranceMs)
  }
  for (const text of classes) args.text(text)
  return { keys: shard.keys, message: args.finish() }
}
