import type { UserConfig } from 'tsdown'

/** What every published package has in common; a package adds its entries. */
const config: UserConfig = {
  format: 'esm',
  platform: 'node',
  target: 'node22.13',
  fixedExtension: false,
  hash: false,
  dts: true,
  clean: true,
  logLevel: 'warn',
}

export default config
