import { createHmac, createSecretKey, hash, type KeyObject } from 'node:crypto'

/** Whose signature it is to be. */
export interface Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
}

/** Which service, and where. */
export interface Scope {
  readonly region: string
  readonly service: string
}

/**
 * Signs `POST` requests as AWS demands (Signature Version 4). The key of a day is kept: deriving it
 * takes four of the five HMACs.
 */
export class Signer {
  readonly #scope: Scope
  #key: { readonly name: string; readonly secret: string; readonly key: KeyObject } | null = null

  constructor(scope: Scope) {
    this.#scope = scope
  }

  /**
   * The headers to send.
   *
   * @param headers Those to be signed, by names in lower case; `host` among them.
   * @param now Epoch milliseconds.
   */
  sign(
    path: string,
    headers: Readonly<Record<string, string>>,
    body: string | Uint8Array,
    { accessKeyId, secretAccessKey, sessionToken }: Credentials,
    now: number,
  ): Record<string, string> {
    const time = new Date(now).toISOString().replaceAll(/[-:]|\.\d+/g, '')
    const day = time.slice(0, 8)
    const { region, service } = this.#scope
    const scope = `${day}/${region}/${service}/aws4_request`
    const signed: Record<string, string> = {
      ...headers,
      'x-amz-date': time,
      ...(sessionToken === undefined ? undefined : { 'x-amz-security-token': sessionToken }),
    }
    const names = Object.keys(signed).sort()
    const canonical = names.map((name) => `${name}:${signed[name]}\n`).join('')
    const list = names.join(';')
    const request = `POST\n${path}\n\n${canonical}\n${list}\n${hash('sha256', body)}`
    const text = `AWS4-HMAC-SHA256\n${time}\n${scope}\n${hash('sha256', request)}`
    const key = this.#keyOf(scope, day, secretAccessKey)
    const signature = createHmac('sha256', key).update(text).digest('hex')
    signed.authorization = `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${list}, Signature=${signature}`
    return signed
  }

  #keyOf(name: string, day: string, secret: string): KeyObject {
    if (this.#key?.name === name && this.#key.secret === secret) return this.#key.key
    const { region, service } = this.#scope
    let key: string | Buffer = `AWS4${secret}`
    for (const part of [day, region, service, 'aws4_request'])
      key = createHmac('sha256', key).update(part).digest()
    this.#key = { name, secret, key: createSecretKey(key as Buffer) }
    return this.#key.key
  }
}
