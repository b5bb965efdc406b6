import type { ServiceInfo, ServiceName } from './service.ts'

/** What a supervisor is to start. */
export interface StartRequest {
  readonly name: ServiceName
}

export type Action = 'stop' | 'kill' | 'restart' | 'pause' | 'resume'

/** From the process that wants a server to its supervisor. */
export interface ActionRequest {
  readonly id: number
  readonly action: Action
}

/** From the supervisor. */
export type SupervisorMessage =
  | { readonly kind: 'line'; readonly text: string }
  | { readonly kind: 'started'; readonly info: ServiceInfo }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'done'; readonly id: number; readonly error: string | null }
