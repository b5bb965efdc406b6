export { default } from '@sayiir/vitest-config'
