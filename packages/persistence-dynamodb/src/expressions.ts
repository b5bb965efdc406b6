import type { AttributeValue } from '@aws-sdk/client-dynamodb'
import type { ItemKey } from './keys.ts'

/** An item, or a part of one. */
export type Attributes = Readonly<Record<string, AttributeValue>>

/** What must be so for a write: nothing there, or an attribute with this value. */
export type Condition =
  | { readonly absent: true }
  | { readonly attribute: string; readonly is: AttributeValue }
  | {
      readonly expression: string
      readonly values?: Record<string, AttributeValue>
    }

/** What a write changes of an item. */
export interface Update {
  readonly set: Attributes
  readonly remove: readonly string[]
}

/** A condition, as requests have it. */
interface Conditioned {
  readonly ConditionExpression: string
  readonly ExpressionAttributeValues?: Record<string, AttributeValue>
  readonly ReturnValuesOnConditionCheckFailure: 'ALL_OLD'
}

/** A key as the service has it. */
export function keyOf({ p, s }: ItemKey): Record<string, AttributeValue> {
  return { p: { S: p }, s: { S: s } }
}

/**
 * A conditional update. Names stand in it as they are: none of ours is a reserved word but `ttl`,
 * which is never updated, and a table of substitutes costs both sides time.
 */
export function updateOf(
  key: ItemKey,
  { set, remove }: Update,
  condition: Condition,
): Conditioned & {
  readonly Key: Record<string, AttributeValue>
  readonly UpdateExpression: string
} {
  const values: Record<string, AttributeValue> = {}
  const sets: string[] = []
  for (const name in set) {
    values[`:${name}`] = set[name] as AttributeValue
    sets.push(`${name} = :${name}`)
  }
  const { ExpressionAttributeValues: more, ...given } = conditionOf(condition)
  const all = { ...values, ...more }
  return {
    Key: keyOf(key),
    UpdateExpression: [
      ...(sets.length === 0 ? [] : [`SET ${sets.join(', ')}`]),
      ...(remove.length === 0 ? [] : [`REMOVE ${remove.join(', ')}`]),
    ].join(' '),
    ...given,
    ...(Object.keys(all).length === 0 ? undefined : { ExpressionAttributeValues: all }),
  }
}

/** A condition, which tells what is there where it does not hold. */
export function conditionOf(condition: Condition): Conditioned {
  const ReturnValuesOnConditionCheckFailure = 'ALL_OLD' as const
  if ('absent' in condition) {
    return {
      ConditionExpression: 'attribute_not_exists(p)',
      ReturnValuesOnConditionCheckFailure,
    }
  }
  if ('attribute' in condition) {
    return {
      ConditionExpression: `${condition.attribute} = :was`,
      ExpressionAttributeValues: { ':was': condition.is },
      ReturnValuesOnConditionCheckFailure,
    }
  }
  const { expression, values } = condition
  return {
    ConditionExpression: expression,
    ...(values === undefined ? undefined : { ExpressionAttributeValues: values }),
    ReturnValuesOnConditionCheckFailure,
  }
}
