import type { Algorithm, PasswordHash } from '../auth/password.ts';
import type { User } from '../auth/users.ts';

/** A user in RabbitMQ's JSON, of definitions and of the API. */
export interface UserJson {
  readonly name?: string;
  readonly password?: string;
  readonly password_hash?: string;
  readonly hashing_algorithm?: string;
  readonly tags?: string | readonly string[];
  readonly limits?: Readonly<Record<string, number>>;
  /** Ours: RabbitMQ has a list in its configuration. */
  readonly loopback_only?: boolean;
}

export function showUser({ name, password, tags, limits, loopbackOnly }: User): Record<string, unknown> {
  return {
    name,
    password_hash: writeHash(password),
    hashing_algorithm: password.hash === '' ? 'rabbit_password_hashing_sha256' : password.algorithm,
    tags,
    limits,
    ...(loopbackOnly ? { loopback_only: true } : {}),
  };
}

// RabbitMQ takes nothing but base64, whatever the algorithm; ours has a text of its own.
function writeHash({ algorithm, hash }: PasswordHash): string {
  return algorithm === 'scrypt' ? Buffer.from(hash, 'latin1').toString('base64') : hash;
}

/** @param algorithm undefined: RabbitMQ's usual one */
export function readHash(text: string, algorithm: Algorithm = 'rabbit_password_hashing_sha256'): PasswordHash {
  const isWrapped = algorithm === 'scrypt' && text !== '' && !text.includes('$');
  return { algorithm, hash: isWrapped ? Buffer.from(text, 'base64').toString('latin1') : text };
}
