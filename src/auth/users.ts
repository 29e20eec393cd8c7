import { randomBytes } from 'node:crypto';
import type { Authenticator, Credentials, Peer, ScramVerifier } from '../core/auth.ts';
import { BrokerError } from '../core/errors.ts';
import type { Journal, Recovered } from '../core/journal.ts';
import type { Clock } from '../lib/clock.ts';
import { Backoff } from './backoff.ts';
import {
  type Algorithm,
  findHashFault,
  hashPassword,
  hmac,
  inventScram,
  isSlow,
  makeScram,
  noPassword,
  type PasswordHash,
  verifyPassword,
} from './password.ts';
import type { LiveAccess, Permissions } from './permissions.ts';
import { Turns } from './turns.ts';

export interface User {
  readonly name: string;
  readonly password: PasswordHash;
  /** undefined when the password came as a foreign hash: SCRAM is not for that user. */
  readonly scram: ScramVerifier | undefined;
  readonly tags: readonly string[];
  readonly loopbackOnly: boolean;
  /** `max-connections`, `max-channels`. */
  readonly limits: Readonly<Record<string, number>>;
}

/** What is given to make or change a user: the password as text, as a hash, or not at all. */
export interface UserSpec {
  readonly password?: string | undefined;
  readonly passwordHash?: PasswordHash | undefined;
  /** Of a password given as text; scrypt when it is not said. */
  readonly algorithm?: Algorithm | undefined;
  readonly tags: readonly string[];
  readonly loopbackOnly: boolean;
}

export interface UsersParts {
  readonly journal: Journal;
  readonly clock: Clock;
  readonly permissions: Permissions;
  readonly anonymous: { readonly enabled: boolean; readonly user: string };
  /** N of scrypt: a power of two. */
  readonly scryptCost: number;
  /** Hashes at a time: each takes one of the runtime's four threads, which the disk needs too. */
  readonly hashesAtOnce: number;
}

const kind = 'user';
/** Log-ins that wait for their turn to be hashed; more are refused. */
const waitingMax = 10_000;

/** The users: who they are, and whether somebody is who they say. */
export class Users implements Authenticator {
  /** Told after a user was changed or, with `gone`, deleted. */
  onChanged: (user: string, gone: boolean) => void = () => {};

  readonly permissions: Permissions;
  private readonly parts: UsersParts;
  private readonly users = new Map<string, User>();
  private readonly backoff: Backoff;
  /** Passwords that were right, as an HMAC under a key that dies with the process. */
  private readonly verified = new Map<string, Buffer>();
  private readonly key = randomBytes(32);
  private readonly checks = new Map<string, Promise<boolean>>();
  private readonly turns: Turns;
  /** What an unknown user's password is compared with, for the time it takes. */
  private readonly nobody: PasswordHash;

  constructor(parts: UsersParts) {
    this.parts = parts;
    this.permissions = parts.permissions;
    this.backoff = new Backoff(parts.clock);
    this.turns = new Turns(parts.hashesAtOnce);
    const octets = randomBytes(48);
    const [salt, key] = [octets.subarray(0, 16).toString('base64'), octets.subarray(16).toString('base64')];
    this.nobody = { algorithm: 'scrypt', hash: `${parts.scryptCost}$8$1$${salt}$${key}` };
  }

  restore(recovered: Recovered): void {
    for (const [name, value] of recovered.entries(kind)) this.users.set(name, decodeUser(name, value));
  }

  // — log-in ——————————————————————————————————————————————————————————————————————————————————————————————————————

  async authenticate(credentials: Credentials, peer: Peer): Promise<string | null> {
    if (credentials.mechanism === 'ANONYMOUS') {
      const { enabled, user } = this.parts.anonymous;
      return enabled && this.mayCome(user, peer) ? user : null;
    }
    const { user: name, password } = credentials;
    if (credentials.mechanism === 'EXTERNAL') return this.mayCome(name, peer) ? name : null;
    const { address } = peer;
    if (this.backoff.pairWaits(address, name)) return null;
    const seal = hmac(this.key, `${name}\0${password}`);
    let right = this.verified.get(name)?.equals(seal) === true;
    if (!right && !this.backoff.addressWaits(address)) right = await this.check(name, password, seal, address);
    if (right) this.backoff.succeeded(address, name);
    else this.backoff.failed(address, name);
    return right && this.mayCome(name, peer) ? name : null;
  }

  findScram(name: string): ScramVerifier {
    return this.users.get(name)?.scram ?? inventScram(name, this.key);
  }

  admits(name: string, peer: Peer): boolean {
    return !this.backoff.pairWaits(peer.address, name) && this.mayCome(name, peer);
  }

  noteProof(name: string, peer: Peer, succeeded: boolean): void {
    if (succeeded) this.backoff.succeeded(peer.address, name);
    else this.backoff.failed(peer.address, name);
  }

  findAccess(user: string, vhost: string): LiveAccess | null {
    return this.users.has(user) ? this.permissions.findAccess(user, vhost) : null;
  }

  private mayCome(name: string, peer: Peer): boolean {
    const user = this.users.get(name);
    return user !== undefined && (!user.loopbackOnly || isLoopback(peer.address));
  }

  // Many who ask the same at once (a site that comes back after an outage) are one hash.
  private check(name: string, password: string, seal: Buffer, address: string): Promise<boolean> {
    const id = `${address}\0${seal.toString('base64')}`;
    let check = this.checks.get(id);
    if (check === undefined) {
      if (this.turns.waiting >= waitingMax) return Promise.resolve(false);
      check = this.compare(name, password, seal, address).finally(() => this.checks.delete(id));
      this.checks.set(id, check);
    }
    return check;
  }

  private async compare(name: string, password: string, seal: Buffer, address: string): Promise<boolean> {
    const user = this.users.get(name);
    const wanted = user?.password ?? noPassword;
    const right = isSlow(wanted)
      ? await this.hashInTurn(password, wanted, address)
      : await verifyPassword(password, wanted);
    if (right && this.users.get(name) === user) {
      this.verified.set(name, seal);
      return true;
    }
    // A refusal takes as long as one of a user whose password is hashed slowly.
    if (!isSlow(wanted)) await this.hashInTurn(password, this.nobody, address);
    return false;
  }

  // Hundreds may have come before the first of them was found wrong: those left are not hashed any more.
  private hashInTurn(password: string, wanted: PasswordHash, address: string): Promise<boolean> {
    return this.turns.take(address, async () => {
      return !this.backoff.addressWaits(address) && verifyPassword(password, wanted);
    });
  }

  // — the list ————————————————————————————————————————————————————————————————————————————————————————————————————

  all(): User[] {
    return [...this.users.values()];
  }

  find(name: string): User | undefined {
    return this.users.get(name);
  }

  /** @throws BrokerError invalid-field for a hash that is none, or no name */
  async put(name: string, spec: UserSpec): Promise<User> {
    if (name === '') throw new BrokerError('invalid-field', 'a user needs a name');
    const fault = spec.passwordHash === undefined ? undefined : findHashFault(spec.passwordHash);
    if (fault !== undefined) throw new BrokerError('invalid-field', `password_hash of user '${name}': ${fault}`);
    const { password: text } = spec;
    const password =
      text === undefined
        ? (spec.passwordHash ?? noPassword)
        : await this.turns.take('', () => hashPassword(text, this.parts.scryptCost, spec.algorithm));
    const user: User = {
      name,
      password,
      scram: text === undefined ? this.keptScram(name, password) : makeScram(text),
      tags: spec.tags,
      loopbackOnly: spec.loopbackOnly,
      limits: this.users.get(name)?.limits ?? {},
    };
    this.keep(user);
    return user;
  }

  /** For whoever is to set it: nobody is slowed down. */
  async isPassword(name: string, password: string): Promise<boolean> {
    const user = this.users.get(name);
    return user !== undefined && (await this.turns.take('', () => verifyPassword(password, user.password)));
  }

  /** @param value negative: there is no limit any longer. @throws BrokerError not-found when there is no such user */
  setLimit(name: string, limit: string, value: number): void {
    const user = this.users.get(name);
    if (user === undefined) throw new BrokerError('not-found', `no user '${name}'`);
    const { [limit]: _, ...limits } = user.limits;
    this.keep({ ...user, limits: value < 0 ? limits : { ...limits, [limit]: value } });
  }

  // The password is the one that it was.
  private keptScram(name: string, { algorithm, hash }: PasswordHash): ScramVerifier | undefined {
    const current = this.users.get(name);
    return current?.password.algorithm === algorithm && current.password.hash === hash ? current.scram : undefined;
  }

  private keep(user: User): void {
    this.users.set(user.name, user);
    this.verified.delete(user.name);
    this.parts.journal.put(kind, user.name, encodeUser(user));
    this.onChanged(user.name, false);
  }

  /** @returns false when there is no such user */
  delete(name: string): boolean {
    if (!this.users.delete(name)) return false;
    this.verified.delete(name);
    this.parts.journal.delete(kind, name);
    this.permissions.deleteUser(name);
    this.onChanged(name, true);
    return true;
  }
}

function isLoopback(address: string): boolean {
  return address === '::1' || /^(::ffff:)?127\./.test(address);
}

function encodeUser({ name: _, scram, ...user }: User): Buffer {
  const verifier =
    scram === undefined
      ? undefined
      : {
          salt: scram.salt.toString('base64'),
          iterations: scram.iterations,
          storedKey: scram.storedKey.toString('base64'),
          serverKey: scram.serverKey.toString('base64'),
        };
  return Buffer.from(JSON.stringify({ ...user, scram: verifier }), 'utf8');
}

function decodeUser(name: string, value: Buffer): User {
  const json = JSON.parse(value.toString('utf8')) as Omit<User, 'name' | 'scram' | 'limits'> & {
    limits?: User['limits'];
    scram?: { salt: string; iterations: number; storedKey: string; serverKey: string };
  };
  const scram =
    json.scram === undefined
      ? undefined
      : {
          salt: Buffer.from(json.scram.salt, 'base64'),
          iterations: json.scram.iterations,
          storedKey: Buffer.from(json.scram.storedKey, 'base64'),
          serverKey: Buffer.from(json.scram.serverKey, 'base64'),
        };
  return { ...json, name, scram, limits: json.limits ?? {} };
}
