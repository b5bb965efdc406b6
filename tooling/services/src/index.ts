export { type Proxy, startProxy } from './proxy.ts'
export {
  type Service,
  ServiceError,
  type ServiceInfo,
  type ServiceName,
  type Way,
} from './service.ts'
export { startService } from './start-service.ts'
