/**
 * The development tools need Node 22.18 or newer. The root lists npm's packages of the Node 24 binary
 * as optional dependencies, and this hook restricts each of them to the platform that it is for and
 * to Node versions that are too old: there pnpm installs it and puts it first on every script's PATH.
 * On any newer Node it is skipped, so that scripts run on the Node that is installed.
 */
const nodeBinary = /^node-(?:bin-)?(linux|darwin|win)-(x64|arm64)$/
const tooOld = '<22.18.0 || >=23.0.0 <24.11.0 || >=25.0.0 <26.0.0'

export const hooks = {
  readPackage(pkg) {
    const [, os, cpu] = nodeBinary.exec(pkg.name ?? '') ?? []
    if (os === undefined) {
      // Whatever needs a newer Node than the installed one gets the one above.
      const { node, ...engines } = pkg.engines ?? {}
      return { ...pkg, engines }
    }
    return {
      ...pkg,
      os: [os === 'win' ? 'win32' : os],
      cpu: [cpu],
      // Its own version too: an install that a script starts runs on it, and must not remove it.
      engines: { node: `${tooOld} || ${pkg.version}` },
    }
  },
}
