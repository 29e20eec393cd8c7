import type { Journal, Recovered } from '../core/journal.ts';
import { type Algorithm, isSlow, type PasswordHash, verifyPassword } from './password.ts';
import type { Permission, Permissions, TopicPermission } from './permissions.ts';
import type { Users } from './users.ts';

/** A user as the configuration has it. */
export interface SeedUser {
  readonly password?: string | undefined;
  readonly passwordHash?: string | undefined;
  readonly hashingAlgorithm: Algorithm;
  readonly tags: readonly string[];
  readonly loopbackOnly: boolean;
  readonly permissions?: Readonly<Record<string, Permission>> | undefined;
  readonly topicPermissions?: Readonly<Record<string, Readonly<Record<string, TopicPermission>>>> | undefined;
}

const kind = 'seed';
const everything: Permission = { configure: '.*', write: '.*', read: '.*' };

/** What was applied: the entry without its password, and the hash that was made of it. */
interface Applied {
  readonly entry: string;
  readonly password: PasswordHash;
}

/**
 * Brings the users of the configuration in. An entry is applied when it is new or differs from what was applied last,
 * so that who was deleted or changed at run time stays so, and who edits the file gets what it says.
 */
export async function applySeeds(
  seeds: Readonly<Record<string, SeedUser>>,
  vhosts: readonly string[],
  parts: { readonly users: Users; readonly permissions: Permissions; readonly journal: Journal },
  recovered: Recovered,
): Promise<void> {
  const applied = new Map<string, Applied>();
  for (const [key, value] of recovered.entries(kind)) applied.set(key, JSON.parse(value.toString('utf8')) as Applied);
  for (const [name, seed] of Object.entries(seeds)) {
    const { password: text, ...rest } = seed;
    const entry = JSON.stringify([rest, vhosts]);
    const last = applied.get(name);
    if (last !== undefined && last.entry === entry && (await isSame(text, last.password))) continue;
    const user = await parts.users.put(name, {
      password: text,
      passwordHash:
        seed.passwordHash === undefined ? undefined : { algorithm: seed.hashingAlgorithm, hash: seed.passwordHash },
      tags: seed.tags,
      loopbackOnly: seed.loopbackOnly,
    });
    const permissions = seed.permissions ?? Object.fromEntries(vhosts.map((vhost) => [vhost, everything]));
    for (const [vhost, permission] of Object.entries(permissions)) parts.permissions.set(vhost, name, permission);
    for (const [vhost, byExchange] of Object.entries(seed.topicPermissions ?? {})) {
      for (const [exchange, each] of Object.entries(byExchange))
        parts.permissions.setTopic(vhost, name, exchange, each);
    }
    const record: Applied = { entry, password: user.password };
    parts.journal.put(kind, name, Buffer.from(JSON.stringify(record), 'utf8'));
  }
}

async function isSame(text: string | undefined, hash: PasswordHash): Promise<boolean> {
  return text === undefined ? !isSlow(hash) : verifyPassword(text, hash);
}
