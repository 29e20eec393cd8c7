import {
  createHash,
  createHmac,
  pbkdf2Sync,
  randomBytes,
  type ScryptOptions,
  scrypt,
  timingSafeEqual,
} from 'node:crypto';
import type { ScramVerifier } from '../core/auth.ts';

/** Ours, and RabbitMQ's by the names of its modules: base64 of four octets of salt and the digest of salt + password. */
export const algorithms = [
  'scrypt',
  'rabbit_password_hashing_sha256',
  'rabbit_password_hashing_sha512',
  'rabbit_password_hashing_md5',
] as const;
export type Algorithm = (typeof algorithms)[number];

export interface PasswordHash {
  readonly algorithm: Algorithm;
  /** scrypt: `N$r$p$salt$key` in base64; the others: base64. Empty: nobody logs in with a password. */
  readonly hash: string;
}

export const noPassword: PasswordHash = { algorithm: 'scrypt', hash: '' };

const scryptBlock = 8;
const scryptKeyBytes = 32;

/** @param cost of scrypt; the others have none */
export async function hashPassword(
  password: string,
  cost: number,
  algorithm: Algorithm = 'scrypt',
): Promise<PasswordHash> {
  if (algorithm !== 'scrypt') return hashSalted(password, algorithm);
  const salt = randomBytes(16);
  const key = await derive(password, salt, { N: cost, r: scryptBlock, p: 1 }, scryptKeyBytes);
  return {
    algorithm: 'scrypt',
    hash: `${cost}$${scryptBlock}$1$${salt.toString('base64')}$${key.toString('base64')}`,
  };
}

/** True when it costs a thread its time: only so many of these may run. */
export function isSlow({ algorithm, hash }: PasswordHash): boolean {
  return algorithm === 'scrypt' && hash !== '';
}

export async function verifyPassword(password: string, wanted: PasswordHash): Promise<boolean> {
  if (wanted.hash === '') return false;
  if (wanted.algorithm !== 'scrypt') return verifySalted(password, wanted.algorithm, wanted.hash);
  const [N, r, p, salt = '', key = ''] = wanted.hash.split('$');
  const expected = Buffer.from(key, 'base64');
  const options = { N: Number(N), r: Number(r), p: Number(p) };
  return same(await derive(password, Buffer.from(salt, 'base64'), options, expected.length), expected);
}

/** @returns what is wrong with a hash that came from outside, or undefined */
export function findHashFault({ algorithm, hash }: PasswordHash): string | undefined {
  if (hash === '') return undefined;
  if (algorithm === 'scrypt') {
    return /^\d{3,7}\$\d{1,2}\$\d{1,2}\$[\w+/=]+\$[\w+/=]+$/.test(hash) ? undefined : 'not a scrypt hash';
  }
  const bytes = Buffer.from(hash, 'base64').length;
  const wanted = saltBytes + digestOf[algorithm].bytes;
  return bytes === wanted ? undefined : `${bytes} octets instead of the ${wanted} of ${algorithm}`;
}

const saltBytes = 4;
const digestOf = {
  rabbit_password_hashing_sha256: { name: 'sha256', bytes: 32 },
  rabbit_password_hashing_sha512: { name: 'sha512', bytes: 64 },
  rabbit_password_hashing_md5: { name: 'md5', bytes: 16 },
} as const;

/** As RabbitMQ hashes: fast to compute, for who and what to guess too. */
export function hashSalted(password: string, algorithm: Exclude<Algorithm, 'scrypt'>): PasswordHash {
  const salt = randomBytes(saltBytes);
  const digest = createHash(digestOf[algorithm].name).update(salt).update(password).digest();
  return { algorithm, hash: Buffer.concat([salt, digest]).toString('base64') };
}

function verifySalted(password: string, algorithm: keyof typeof digestOf, hash: string): boolean {
  const bytes = Buffer.from(hash, 'base64');
  const digest = createHash(digestOf[algorithm].name).update(bytes.subarray(0, saltBytes)).update(password).digest();
  return same(digest, bytes.subarray(saltBytes));
}

function same(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

function derive(password: string, salt: Buffer, options: ScryptOptions, bytes: number): Promise<Buffer> {
  const maxmem = 256 * (options.N ?? 0) * (options.r ?? 0);
  return new Promise((resolve, reject) => {
    scrypt(password, salt, bytes, { ...options, maxmem }, (error, key) => (error ? reject(error) : resolve(key)));
  });
}

const scramIterations = 8192;

/** [RFC 5802 §3] SaltedPassword, then StoredKey = H(HMAC(it, "Client Key")) and ServerKey = HMAC(it, "Server Key"). */
export function makeScram(password: string): ScramVerifier {
  const salt = randomBytes(16);
  const salted = pbkdf2Sync(password.normalize('NFKC'), salt, scramIterations, 32, 'sha256');
  return {
    salt,
    iterations: scramIterations,
    storedKey: createHash('sha256').update(hmac(salted, 'Client Key')).digest(),
    serverKey: hmac(salted, 'Server Key'),
  };
}

/** The verifier of nobody: the same for a name every time in this process, so that asking twice tells nothing. */
export function inventScram(user: string, key: Buffer): ScramVerifier {
  return {
    salt: hmac(key, `salt ${user}`).subarray(0, 16),
    iterations: scramIterations,
    storedKey: hmac(key, `stored ${user}`),
    serverKey: hmac(key, `server ${user}`),
  };
}

export function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
