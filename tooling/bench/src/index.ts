export { bench } from './bench.ts'
export type {
  Aim,
  BackendModule,
  Definition,
  FloorModule,
  Peer,
  Place,
  Server,
  WorkloadName,
} from './definition.ts'
export type { Floor, FloorJob } from './floor.ts'
export type { Sizes } from './sizes.ts'
export type { CrowdName, Hooks, Subject, Work, WorkKind } from './subject.ts'
