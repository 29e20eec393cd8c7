import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';

/** The client's side of SCRAM-SHA-256 [RFC 5802], for one exchange. */
export class ScramClient {
  readonly first: Buffer;
  private readonly password: string;
  private readonly header: string;
  private readonly bare: string;
  private expected = '';

  constructor(user: string, password: string, options: { nonce?: string; header?: string } = {}) {
    this.password = password;
    this.header = options.header ?? 'n,,';
    this.bare = `n=${user.replaceAll('=', '=3D').replaceAll(',', '=2C')},r=${options.nonce ?? 'fyko+d2lbbFgONRv9qkxdawL'}`;
    this.first = Buffer.from(this.header + this.bare);
  }

  /** client-final for a server-first. */
  final(serverFirst: Buffer): Buffer {
    const text = serverFirst.toString();
    const [, nonce = '', salt = '', iterations = ''] = /^r=([^,]*),s=([^,]*),i=(\d+)$/.exec(text) ?? [];
    const salted = pbkdf2Sync(this.password, Buffer.from(salt, 'base64'), Number(iterations), 32, 'sha256');
    const withoutProof = `c=${Buffer.from(this.header).toString('base64')},r=${nonce}`;
    const signed = `${this.bare},${text},${withoutProof}`;
    const clientKey = hmac(salted, 'Client Key');
    const signature = hmac(createHash('sha256').update(clientKey).digest(), signed);
    const proof = Buffer.from(clientKey.map((octet, i) => octet ^ signature[i]!));
    this.expected = `v=${hmac(hmac(salted, 'Server Key'), signed).toString('base64')}`;
    return Buffer.from(`${withoutProof},p=${proof.toString('base64')}`);
  }

  /** What a server that knows the verifier says at the end. */
  get serverFinal(): string {
    return this.expected;
  }
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
