import type { AttributeValue } from '@aws-sdk/client-dynamodb'
import { decodeHead, encodeHead, isEnded } from '@sayiir/persistence-core/adapter'
import type { Bodies, Written } from './bodies.ts'
import type { Attributes } from './expressions.ts'
import {
  bytesOf,
  codeOf,
  type InstanceItem,
  readEntries,
  readTail,
  type State,
  statusOf,
  type TailEntry,
  type TailResult,
  writeClaims,
  writeEntries,
  writeTail,
} from './instance-item.ts'
import { named, unreadable } from './unreadable.ts'

/** Bytes of a text in the instance's own item: a longer one is a body. */
const TEXT_BYTES = 8192
/** The same of claims, which only a fork of many tasks with long names has more of, and of control signals. */
const CLAIMS_BYTES: number = 128 * 1024
const SIGNALS_BYTES: number = 64 * 1024
/** Bytes of an initial input in the instance's own item, where every write pays for it again. */
const INPUT_BYTES = 512
/** Bytes of an output in the instance's own item, until the next write. */
const OUTPUT_BYTES = 1200
/** Bytes of outputs in an item that nobody will write again. */
const ENDED_BYTES: number = 256 * 1024
/** Results of the same write that have room in the instance's own item. */
const TAIL_ENTRIES = 16

/** What the encoding of a state came to. */
export interface Encoded {
  /** Of the instance's own item, but for its write names and index keys. */
  readonly attributes: Attributes
  /** Bodies that were written for it. */
  readonly written: readonly Written[]
  /** The state's tail, with what went into bodies referred to. */
  readonly tail: readonly TailEntry[]
}

/** An instance's own item ↔ what it says, with the bodies that it refers to. */
export class StateCodec {
  readonly #bodies: Bodies

  constructor(bodies: Bodies) {
    this.#bodies = bodies
  }

  /** What an item says. Null: a body is gone, so the item is out of date. */
  async decode(item: InstanceItem): Promise<State | null> {
    item.state ??= this.#decode(item).then((decoded) => {
      if (decoded === null) throw OUT_OF_DATE
      return decoded
    })
    try {
      return await item.state
    } catch (error) {
      item.state = null
      if (error === OUT_OF_DATE) return null
      throw named(item.instanceId, error)
    }
  }

  async #decode(item: InstanceItem): Promise<State | null> {
    const { instanceId, attributes } = item
    const { st, dh, r, ca, ua, q, k, mk } = attributes
    const status = statusOf(st?.S)
    const parts = await Promise.all([
      this.#text(item, 't'),
      this.#text(item, 'e'),
      this.#text(item, 'c'),
      this.#text(item, 'sg'),
      this.#text(item, 'tl'),
      this.#bytes(item, 'ii'),
      this.#bytes(item, 'fo'),
    ])
    if (parts.includes(null)) return null
    const [text, entriesText, claimsText, signalsText, tailText, initialInput, finalOutput] = parts
    const tail = tailText == null ? readTail(attributes.tl) : tailOfText(tailText)
    const shared = attributes.ft?.S
    const final =
      shared === undefined
        ? finalOutput
        : tail.find(({ taskId }) => taskId === shared)?.result?.output
    const head = decodeHead(text ?? '', {
      instanceId,
      definitionHash: dh?.S ?? '',
      revision: Number(r?.N),
      createdAt: Number(ca?.N),
      updatedAt: Number(ua?.N),
      initialInput: initialInput ?? null,
      finalOutput: final instanceof Uint8Array ? final : null,
    })
    if (head.state.status !== status) throw unreadable('its status is not that of its head')
    const signals = signalsText == null ? null : (JSON.parse(signalsText) as Signals)
    return {
      generation: item.generation,
      version: item.version,
      life: item.life,
      epoch: item.epoch,
      token: Number(k?.N ?? 0),
      head,
      ...readEntries(entriesText ?? undefined, claimsText ?? undefined),
      cancel: signals?.cancel ?? null,
      pause: signals?.pause ?? null,
      queuedEvents: Number(q?.N ?? 0),
      tail,
      hasResults: attributes.hr !== undefined,
      hasEvents: attributes.he !== undefined,
      markers: new Map(mk?.S === undefined ? [] : (JSON.parse(mk.S) as [string, number][])),
    }
  }

  /**
   * The item that says this. What did not change is taken from `before`, bodies too.
   */
  async encode(
    state: State,
    before: { readonly item: InstanceItem; readonly state: State } | null,
  ): Promise<Encoded> {
    const { head } = state
    const { instanceId } = head
    const old = before?.item.attributes ?? {}
    const written: Written[] = []
    const write = async (bytes: Uint8Array): Promise<string> => {
      const reference = await this.#bodies.put(instanceId, state.life, bytes)
      written.push({ reference, bytes: bytes.byteLength })
      return reference
    }
    const text = async (
      name: 't' | 'e' | 'c' | 'sg',
      value: string,
      limit = TEXT_BYTES,
    ): Promise<Attributes> => {
      if (value.length * 3 <= limit || Buffer.byteLength(value) <= limit)
        return { [name]: { S: value } }
      return { [`${name}b`]: { S: await write(Buffer.from(value)) } }
    }
    const kept = (...names: readonly string[]): Attributes =>
      Object.fromEntries(Object.entries(old).filter(([name]) => names.includes(name)))
    const ended = isEnded(head.state.status)
    const isSameHead = before !== null && before.state.head === head
    const entriesText = state.entries.length === 0 ? null : writeEntries(state.entries)
    const isSameEntries =
      before !== null &&
      entriesText !== null &&
      before.state.entries.length > 0 &&
      writeEntries(before.state.entries) === entriesText
    const claims = writeClaims(state.entries, state.lastTokens)
    const isSameSignals =
      before !== null && before.state.cancel === state.cancel && before.state.pause === state.pause
    const hasSignals = state.cancel !== null || state.pause !== null
    const signals: Signals = {
      ...(state.cancel === null ? undefined : { cancel: state.cancel }),
      ...(state.pause === null ? undefined : { pause: state.pause }),
    }
    const isSameInput =
      before !== null &&
      (before.state.head.initialInput === head.initialInput ||
        (before.state.head.initialInput !== null &&
          head.initialInput !== null &&
          Buffer.compare(before.state.head.initialInput, head.initialInput) === 0))
    const parts = await Promise.all([
      isSameHead ? kept('t', 'tb') : text('t', encodeHead(head)),
      entriesText === null ? {} : isSameEntries ? kept('e', 'eb') : text('e', entriesText),
      isSameInput
        ? kept('ii', 'iib')
        : head.initialInput === null
          ? {}
          : head.initialInput.byteLength <= INPUT_BYTES
            ? { ii: { B: head.initialInput } }
            : write(head.initialInput).then((reference) => ({ iib: { S: reference } })),
      this.#encodeTail(state, ended, write, before),
      claims === null ? {} : text('c', claims, CLAIMS_BYTES),
      !hasSignals
        ? {}
        : isSameSignals
          ? kept('sg', 'sgb')
          : text('sg', JSON.stringify(signals), SIGNALS_BYTES),
    ])
    const tail = parts[3].tail
    let final: Attributes = {}
    if (head.state.status === 'completed') {
      const { finalOutput } = head.state
      const shared = tail.find(
        ({ result }) =>
          result?.output instanceof Uint8Array && Buffer.compare(result.output, finalOutput) === 0,
      )
      const isInList = parts[3].attributes.tl?.B !== undefined
      if (shared !== undefined && isInList && finalOutput.byteLength > 0)
        final = { ft: { S: shared.taskId } }
      else if (finalOutput.byteLength <= ENDED_BYTES / 4) final = { fo: { B: finalOutput } }
      else final = { fob: { S: await write(finalOutput) } }
    }
    return {
      attributes: {
        g: { S: state.generation },
        v: { N: String(state.version) },
        x: { S: state.life },
        y: { S: state.epoch },
        st: { S: codeOf(head.state.status) },
        dh: { S: head.definitionHash },
        r: { N: String(head.revision) },
        ca: { N: String(head.createdAt) },
        ua: { N: String(head.updatedAt) },
        ...(state.token === 0 ? undefined : { k: { N: String(state.token) } }),
        ...parts[0],
        ...parts[1],
        ...parts[2],
        ...parts[4],
        ...parts[5],
        ...(state.queuedEvents === 0 ? undefined : { q: { N: String(state.queuedEvents) } }),
        ...(state.hasResults ? { hr: { BOOL: true } } : undefined),
        ...(state.hasEvents ? { he: { BOOL: true } } : undefined),
        ...(state.markers.size === 0
          ? undefined
          : { mk: { S: JSON.stringify([...state.markers]) } }),
        ...parts[3].attributes,
        ...final,
      },
      written,
      tail,
    }
  }

  /** Outputs that are too large for the item become bodies; many together become one. */
  async #encodeTail(
    { tail }: State,
    ended: boolean,
    write: (bytes: Uint8Array) => Promise<string>,
    before: { readonly item: InstanceItem; readonly state: State } | null,
  ): Promise<{ readonly attributes: Attributes; readonly tail: readonly TailEntry[] }> {
    if (tail.length === 0) return { attributes: {}, tail }
    if (before !== null && before.state.tail === tail) {
      const { tl, tlb } = before.item.attributes
      return {
        attributes: { ...(tl && { tl }), ...(tlb && { tlb }) } as Record<string, AttributeValue>,
        tail,
      }
    }
    const limit = ended ? ENDED_BYTES / 4 : OUTPUT_BYTES
    let room = ended ? ENDED_BYTES / 2 : 4 * OUTPUT_BYTES
    const placed = await Promise.all(
      tail.map(async (entry): Promise<TailEntry> => {
        const { result } = entry
        if (result == null || !(result.output instanceof Uint8Array)) return entry
        const { byteLength } = result.output
        if (byteLength <= limit && byteLength <= room) {
          room -= byteLength
          return entry
        }
        return {
          ...entry,
          result: { ...result, output: { reference: await write(result.output) } },
        }
      }),
    )
    if (placed.length <= TAIL_ENTRIES)
      return { attributes: { tl: writeTail(placed) }, tail: placed }
    const reference = await write(Buffer.from(textOfTail(placed)))
    return { attributes: { tlb: { S: reference } }, tail: placed }
  }

  /** Undefined: it has none; null: its body is gone. */
  async #text(item: InstanceItem, name: string): Promise<string | null | undefined> {
    const { [name]: inline, [`${name}b`]: reference } = item.attributes
    if (reference?.S === undefined) return inline?.S
    const bytes = await this.#bodies.get(item.instanceId, reference.S)
    return bytes === null ? null : Buffer.from(bytes).toString()
  }

  async #bytes(item: InstanceItem, name: string): Promise<Uint8Array | null | undefined> {
    const { [name]: inline, [`${name}b`]: reference } = item.attributes
    if (reference?.S === undefined) return inline === undefined ? undefined : bytesOf(inline)
    return this.#bodies.get(item.instanceId, reference.S)
  }
}

type Signals = { cancel?: NonNullable<State['cancel']>; pause?: NonNullable<State['pause']> }

const OUT_OF_DATE = new Error('a body is gone')

/** Attributes that refer to bodies, and the bodies that they refer to. */
export function referencesOf(attributes: Attributes): string[] {
  const references: string[] = []
  for (const name of ['tb', 'eb', 'cb', 'sgb', 'iib', 'fob', 'tlb']) {
    const reference = attributes[name]?.S
    if (reference !== undefined) references.push(reference)
  }
  return references
}

function textOfTail(tail: readonly TailEntry[]): string {
  return JSON.stringify(
    tail.map(({ result, ...entry }) => ({
      ...entry,
      ...(result === undefined ? undefined : { result: result === null ? null : plain(result) }),
    })),
  )
}

function plain({ order, output }: TailResult): object {
  return output instanceof Uint8Array
    ? { order, base64: Buffer.from(output).toString('base64') }
    : { order, reference: output.reference }
}

function tailOfText(text: string): TailEntry[] {
  const entries = JSON.parse(text) as (Omit<TailEntry, 'result'> & {
    result?: { order: number; base64?: string; reference?: string } | null
  })[]
  return entries.map(({ result, ...entry }) => ({
    ...entry,
    ...(result === undefined
      ? undefined
      : {
          result:
            result === null
              ? null
              : {
                  order: result.order,
                  output:
                    result.reference === undefined
                      ? new Uint8Array(Buffer.from(result.base64 ?? '', 'base64'))
                      : { reference: result.reference },
                },
        }),
  }))
}
