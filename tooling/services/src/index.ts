export { startProxy, type TcpProxy } from './proxy.ts'
export {
  type Service,
  ServiceError,
  type ServiceInfo,
  type ServiceName,
  type Way,
} from './service.ts'
export { startService } from './start-service.ts'
