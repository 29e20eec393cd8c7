import { createHash } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { Permissions } from '../../../src/auth/permissions.ts';
import { Users } from '../../../src/auth/users.ts';
import type { Journal } from '../../../src/core/journal.ts';
import { MemoryJournal } from '../../../src/storage/memory.ts';
import { ManualClock } from '../../support/core.ts';

const loopback = { address: '127.0.0.1', protocol: 'amqp' };
const afar = { address: '10.1.2.3', protocol: 'amqp' };
const plain = (user: string, password: string) => ({ mechanism: 'PLAIN', user, password }) as const;

let clock: ManualClock;
let users: Users;
let permissions: Permissions;

beforeEach(() => {
  clock = new ManualClock();
  const journal: Journal = new MemoryJournal();
  permissions = new Permissions(journal);
  users = new Users({
    journal,
    clock,
    permissions,
    anonymous: { enabled: false, user: 'guest' },
    scryptCost: 1024,
    hashesAtOnce: 1,
  });
});

function put(name: string, password: string, more: { loopbackOnly?: boolean } = {}): Promise<unknown> {
  return users.put(name, { password, tags: [], loopbackOnly: more.loopbackOnly ?? false });
}

describe('passwords', () => {
  test('the right one lets in, a wrong one and an unknown name do not', async () => {
    await put('anna', 'secret');
    expect(await users.authenticate(plain('anna', 'secret'), afar)).toBe('anna');
    expect(await users.authenticate(plain('anna', 'Secret'), afar)).toBeNull();
    expect(await users.authenticate(plain('bert', 'secret'), afar)).toBeNull();
  });

  test.each([
    ['rabbit_password_hashing_sha256', 'sha256'],
    ['rabbit_password_hashing_sha512', 'sha512'],
    ['rabbit_password_hashing_md5', 'md5'],
  ] as const)('a hash of %s is understood', async (algorithm, digest) => {
    const salt = Buffer.from('908dc60a', 'hex');
    const hash = Buffer.concat([salt, createHash(digest).update(salt).update('test12').digest()]).toString('base64');
    await users.put('carla', { passwordHash: { algorithm, hash }, tags: [], loopbackOnly: false });
    expect(await users.authenticate(plain('carla', 'test12'), afar)).toBe('carla');
    expect(await users.authenticate(plain('carla', 'test13'), afar)).toBeNull();
  });

  test("RabbitMQ's documented example of a salted hash", async () => {
    // salt 908DC60A, password test12 [RabbitMQ: password hashing]
    const hash = 'kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR';
    await users.put('doc', {
      passwordHash: { algorithm: 'rabbit_password_hashing_sha256', hash },
      tags: [],
      loopbackOnly: false,
    });
    expect(await users.authenticate(plain('doc', 'test12'), afar)).toBe('doc');
  });

  test('a hash that is none is refused, and changes nothing', async () => {
    await put('anna', 'secret');
    const passwordHash = { algorithm: 'rabbit_password_hashing_sha256', hash: 'AAAA' } as const;
    await expect(users.put('anna', { passwordHash, tags: [], loopbackOnly: false })).rejects.toThrow(/password_hash/);
    expect(await users.authenticate(plain('anna', 'secret'), afar)).toBe('anna');
  });

  test('a user without password is let in with none', async () => {
    await users.put('mute', { tags: [], loopbackOnly: false });
    expect(await users.authenticate(plain('mute', ''), afar)).toBeNull();
  });

  test('a new password ends the old one, which was right before', async () => {
    await put('anna', 'old');
    expect(await users.authenticate(plain('anna', 'old'), afar)).toBe('anna');
    await put('anna', 'new');
    expect(await users.authenticate(plain('anna', 'old'), afar)).toBeNull();
    expect(await users.authenticate(plain('anna', 'new'), afar)).toBe('anna');
  });

  test('a user changed while the password is hashed is not let in by the old one', async () => {
    await put('anna', 'old');
    const answer = users.authenticate(plain('anna', 'old'), afar);
    users.delete('anna');
    expect(await answer).toBeNull();
  });

  test('the password is nowhere in what is written', async () => {
    await put('anna', 'a very secret word');
    expect(JSON.stringify(users.find('anna'))).not.toContain('secret word');
  });
});

describe('who may come from where', () => {
  test('a loopback-only user, from this machine alone', async () => {
    await put('guest', 'guest', { loopbackOnly: true });
    expect(await users.authenticate(plain('guest', 'guest'), loopback)).toBe('guest');
    expect(await users.authenticate(plain('guest', 'guest'), { ...loopback, address: '::1' })).toBe('guest');
    expect(await users.authenticate(plain('guest', 'guest'), afar)).toBeNull();
  });

  test('nobody without a name while anonymous access is off', async () => {
    await put('guest', 'guest');
    expect(await users.authenticate({ mechanism: 'ANONYMOUS', user: '', password: '' }, loopback)).toBeNull();
  });
});

describe('EXTERNAL', () => {
  const external = (user: string) => ({ mechanism: 'EXTERNAL', user, password: '' }) as const;

  test('whom a verified certificate names comes in without a password, if it is a user', async () => {
    await put('sensor-7', 'unused');
    expect(await users.authenticate(external('sensor-7'), afar)).toBe('sensor-7');
    expect(await users.authenticate(external('sensor-8'), afar)).toBeNull();
  });

  test('a loopback-only user stays at home with a certificate too', async () => {
    await put('guest', 'guest', { loopbackOnly: true });
    expect(await users.authenticate(external('guest'), afar)).toBeNull();
  });
});

describe('back-off', () => {
  test('after some wrong passwords even the right one waits, from there and for that name alone', async () => {
    await put('anna', 'secret');
    await put('bert', 'secret');
    for (let i = 0; i < 5; i++) await users.authenticate(plain('anna', `wrong ${i}`), afar);
    expect(await users.authenticate(plain('anna', 'secret'), afar)).toBeNull();
    expect(await users.authenticate(plain('anna', 'secret'), { ...afar, address: '10.9.9.9' })).toBe('anna');
    expect(await users.authenticate(plain('bert', 'secret'), afar)).toBe('bert');
    clock.advance(1001);
    expect(await users.authenticate(plain('anna', 'secret'), afar)).toBe('anna');
  });

  test('an address that guesses names is given no hash, while those who were right before come in', async () => {
    await put('anna', 'secret');
    await put('bert', 'secret');
    expect(await users.authenticate(plain('anna', 'secret'), afar)).toBe('anna');
    for (let i = 0; i < 20; i++) await users.authenticate(plain(`name ${i}`, 'x'), afar);
    expect(await users.authenticate(plain('bert', 'secret'), afar)).toBeNull();
    expect(await users.authenticate(plain('anna', 'secret'), afar)).toBe('anna');
    clock.advance(501);
    expect(await users.authenticate(plain('bert', 'secret'), afar)).toBe('bert');
  });
});

describe('SCRAM', () => {
  test('a password set as text has a verifier of its own salt', async () => {
    await put('anna', 'secret');
    await put('bert', 'secret');
    expect(users.findScram('anna').salt).not.toEqual(users.findScram('bert').salt);
    expect(users.findScram('anna').storedKey).toHaveLength(32);
  });

  test('an unknown user has one that stays the same, so that asking twice tells nothing', () => {
    expect(users.findScram('nobody')).toEqual(users.findScram('nobody'));
    expect(users.findScram('nobody').salt).not.toEqual(users.findScram('somebody').salt);
  });
});

test('a deleted user has no access, and its permissions are gone', async () => {
  await put('anna', 'secret');
  permissions.set('/', 'anna', { configure: '.*', write: '.*', read: '.*' });
  const access = users.findAccess('anna', '/');
  expect(access?.allows('write', 'exchange', 'x')).toBe(true);
  users.delete('anna');
  expect(users.findAccess('anna', '/')).toBeNull();
  expect(access?.allows('write', 'exchange', 'x')).toBe(false);
});

describe('changes', () => {
  test('a password given back as the hash that was shown is the same password, for SCRAM too', async () => {
    await put('dora', 'secret');
    const { password, scram } = users.find('dora')!;
    await users.put('dora', { passwordHash: password, tags: ['management'], loopbackOnly: false });
    expect(users.find('dora')).toMatchObject({ tags: ['management'], scram });
    expect(await users.authenticate(plain('dora', 'secret'), afar)).toBe('dora');
  });

  test('another hash is another password, and none that SCRAM can check', async () => {
    await put('dora', 'secret');
    const { password } = (await users.put('other', { password: 'x', tags: [], loopbackOnly: false })) as {
      password: { algorithm: 'scrypt'; hash: string };
    };
    await users.put('dora', { passwordHash: password, tags: [], loopbackOnly: false });
    expect(users.find('dora')!.scram).toBeUndefined();
    expect(await users.authenticate(plain('dora', 'x'), afar)).toBe('dora');
  });

  test.each(['rabbit_password_hashing_sha256', 'rabbit_password_hashing_sha512'] as const)(
    'a password is hashed with %s where that is asked for',
    async (algorithm) => {
      await users.put('emil', { password: 'secret', algorithm, tags: [], loopbackOnly: false });
      expect(users.find('emil')!.password.algorithm).toBe(algorithm);
      expect(await users.authenticate(plain('emil', 'secret'), afar)).toBe('emil');
      expect(await users.authenticate(plain('emil', 'Secret'), afar)).toBeNull();
    },
  );

  test('limits are set, kept when the user changes, and lifted by a negative number', async () => {
    await put('fred', 'secret');
    users.setLimit('fred', 'max-connections', 3);
    await put('fred', 'another');
    expect(users.find('fred')!.limits).toEqual({ 'max-connections': 3 });
    users.setLimit('fred', 'max-connections', -1);
    expect(users.find('fred')!.limits).toEqual({});
    expect(() => users.setLimit('nobody', 'max-connections', 1)).toThrow(/no user 'nobody'/);
  });

  test('whether a password is the one that is set costs nobody a log-in', async () => {
    await put('gina', 'secret');
    for (let i = 0; i < 50; i++) expect(await users.isPassword('gina', 'wrong')).toBe(false);
    expect(await users.isPassword('gina', 'secret')).toBe(true);
    expect(await users.isPassword('nobody', 'secret')).toBe(false);
    expect(await users.authenticate(plain('gina', 'secret'), afar)).toBe('gina');
  });
});
