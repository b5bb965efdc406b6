import type { RunningServer, StartContext } from './running-server.ts'
import type { ServiceName } from './service.ts'
export type Engine =
  | { readonly answers: true }
  | { readonly answers: false; readonly reason: string }
export async function dockerEngine(): Promise<Engine> {
  return { answers: false, reason: 'no Docker engine answers' }
}
export async function startContainer(
  _n: ServiceName,
  _e: Engine,
  _c: StartContext,
): Promise<RunningServer> {
  throw new Error('x')
}
