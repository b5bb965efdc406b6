/** The same with every map as its entries, so that a comparison sees their order too. */
export function ordered(value: unknown): unknown {
  if (value instanceof Map) return { map: Array.from(value, ordered) }
  if (Array.isArray(value)) return value.map(ordered)
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, ordered(field)]))
}
