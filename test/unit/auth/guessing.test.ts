import { beforeEach, expect, test, vi } from 'vitest';
import { isSlow, type PasswordHash, verifyPassword } from '../../../src/auth/password.ts';
import { Permissions } from '../../../src/auth/permissions.ts';
import { Users } from '../../../src/auth/users.ts';
import { MemoryJournal } from '../../../src/storage/memory.ts';
import { ManualClock } from '../../support/core.ts';

vi.mock(import('../../../src/auth/password.ts'), async (original) => {
  const actual = await original();
  return { ...actual, verifyPassword: vi.fn(actual.verifyPassword) };
});

const verify = vi.mocked(verifyPassword);
const cost = 1024;
let clock: ManualClock;
let users: Users;

beforeEach(async () => {
  clock = new ManualClock();
  const journal = new MemoryJournal();
  users = new Users({
    journal,
    clock,
    permissions: new Permissions(journal),
    anonymous: { enabled: false, user: 'guest' },
    scryptCost: cost,
    hashesAtOnce: 1,
  });
  await users.put('anna', { password: 'secret', tags: [], loopbackOnly: false });
  verify.mockClear();
});

function guess(user: string, password: string, address: string): Promise<string | null> {
  return users.authenticate({ mechanism: 'PLAIN', user, password }, { address, protocol: 'amqp' });
}

/** What was hashed slowly, by what it cost: N, r and p of scrypt. */
function hashed(): string[] {
  return verify.mock.calls
    .map(([, wanted]: [string, PasswordHash]) => wanted)
    .filter(isSlow)
    .map(({ hash }) => hash.split('$', 3).join(' '));
}

test('a wrong password and an unknown name are the same answer, for the same work', async () => {
  const works: string[][] = [];
  for (const name of ['anna', 'nobody']) {
    verify.mockClear();
    expect(await guess(name, 'wrong', '192.0.2.1')).toBeNull();
    works.push(hashed());
  }
  expect(works).toEqual([[`${cost} 8 1`], [`${cost} 8 1`]]);
});

test("so is a wrong password of a user who has RabbitMQ's fast hash, or none at all", async () => {
  // salt 908DC60A, password test12 [RabbitMQ: password hashing]
  const hash = 'kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR';
  const passwordHash = { algorithm: 'rabbit_password_hashing_sha256', hash } as const;
  await users.put('doc', { passwordHash, tags: [], loopbackOnly: false });
  await users.put('none', { tags: [], loopbackOnly: false });
  for (const name of ['doc', 'none']) {
    verify.mockClear();
    expect(await guess(name, 'wrong', '192.0.2.1')).toBeNull();
    expect(hashed()).toEqual([`${cost} 8 1`]);
  }
});

test('of hundreds of guesses at once from one address only the first are hashed', async () => {
  const guesses = Array.from({ length: 300 }, (_, i) =>
    guess(i % 2 === 0 ? 'anna' : `nobody-${i}`, `${i}`, '192.0.2.1'),
  );
  expect(new Set(await Promise.all(guesses))).toEqual(new Set([null]));
  expect(hashed().length).toBeLessThanOrEqual(22); // the next has begun before a failure is noted
});

test('a crowd of guesses from one address delays the log-in from another by a hash or two', async () => {
  const guesses = Array.from({ length: 300 }, (_, i) => guess(`nobody-${i}`, 'x', '192.0.2.1'));
  expect(await guess('anna', 'secret', '192.0.2.2')).toBe('anna');
  expect(hashed().length).toBeLessThanOrEqual(4);
  await Promise.all(guesses);
});

test('an address that has stopped guessing is let in again at once, and slowed down for some minutes', async () => {
  for (let i = 0; i < 300; i++) await guess(`nobody-${i}`, 'x', '192.0.2.1');
  expect(await guess('anna', 'secret', '192.0.2.1')).toBeNull();
  clock.advance(1000);
  expect(await guess('anna', 'secret', '192.0.2.1')).toBe('anna');
  clock.advance(500_000);
  verify.mockClear();
  for (let i = 0; i < 10; i++) await guess(`nobody-${i}`, 'x', '192.0.2.1');
  expect(hashed()).toHaveLength(10);
});
