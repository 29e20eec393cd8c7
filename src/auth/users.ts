import { createHash, timingSafeEqual } from 'node:crypto';
import type { Access, Authenticator, Credentials, Peer } from '../core/auth.ts';

export interface UserConfig {
  readonly password: string;
  readonly loopbackOnly: boolean;
}

export interface AnonymousConfig {
  readonly enabled: boolean;
  readonly user: string;
}

const everything: Access = { allows: () => true };

/** The users of the configuration; each may do everything in every virtual host. */
export class Users implements Authenticator {
  private readonly users: ReadonlyMap<string, UserConfig>;
  private readonly anonymous: AnonymousConfig;

  constructor(users: Readonly<Record<string, UserConfig>>, anonymous: AnonymousConfig) {
    this.users = new Map(Object.entries(users));
    this.anonymous = anonymous;
  }

  async authenticate(credentials: Credentials, peer: Peer): Promise<string | null> {
    const isAnonymous = credentials.mechanism === 'ANONYMOUS';
    if (isAnonymous && !this.anonymous.enabled) return null;
    const name = isAnonymous ? this.anonymous.user : credentials.user;
    const user = this.users.get(name);
    const matches = isAnonymous || samePassword(credentials.password, user?.password);
    if (user === undefined || !matches) return null;
    return user.loopbackOnly && !isLoopback(peer.address) ? null : name;
  }

  findAccess(user: string, _vhost: string): Access | null {
    return this.users.has(user) ? everything : null;
  }
}

// The same work for an unknown user as for a wrong password.
function samePassword(given: string, wanted: string | undefined): boolean {
  const equal = timingSafeEqual(digest(given), digest(wanted ?? ''));
  return equal && wanted !== undefined;
}

function digest(password: string): Buffer {
  return createHash('sha256').update(password).digest();
}

function isLoopback(address: string): boolean {
  return address === '::1' || /^(::ffff:)?127\./.test(address);
}
