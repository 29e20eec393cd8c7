import { beforeEach, expect, test } from 'vitest';
import { type LiveAccess, Permissions } from '../../../src/auth/permissions.ts';
import { MemoryJournal } from '../../../src/storage/memory.ts';

let permissions: Permissions;
const changes: string[] = [];

beforeEach(() => {
  permissions = new Permissions(new MemoryJournal());
  changes.length = 0;
  permissions.onChanged = (vhost, user) => changes.push(`${vhost} ${user}`);
});

function grant(configure: string, write: string, read: string): LiveAccess {
  permissions.set('/', 'anna', { configure, write, read });
  return permissions.findAccess('anna', '/') as LiveAccess;
}

test('without any permission the virtual host is closed', () => {
  grant('.*', '.*', '.*');
  expect(permissions.findAccess('anna', 'other')).toBeNull();
  expect(permissions.findAccess('bert', '/')).toBeNull();
});

test('each operation has its pattern, which is found anywhere unless it is anchored', () => {
  const access = grant('^mine', 'out', '^in$');
  expect(access.allows('configure', 'queue', 'mine.1')).toBe(true);
  expect(access.allows('configure', 'queue', 'not mine')).toBe(false);
  expect(access.allows('write', 'exchange', 'the outbox')).toBe(true);
  expect(access.allows('read', 'queue', 'in')).toBe(true);
  expect(access.allows('read', 'queue', 'inner')).toBe(false);
});

test('the empty pattern is for nothing, and the default exchange is called amq.default', () => {
  const access = grant('', '^amq\\.default$', '');
  expect(access.allows('configure', 'queue', 'q')).toBe(false);
  expect(access.allows('write', 'exchange', '')).toBe(true);
  expect(access.allows('write', 'exchange', 'amq.topic')).toBe(false);
});

test('a change holds for those who are connected, and is told', () => {
  const access = grant('.*', '.*', '.*');
  expect(access.allows('write', 'exchange', 'x')).toBe(true);
  grant('.*', '^y$', '.*');
  expect(access.allows('write', 'exchange', 'x')).toBe(false);
  permissions.clear('/', 'anna');
  expect(access.allows('read', 'queue', 'q')).toBe(false);
  expect(changes).toEqual(['/ anna', '/ anna', '/ anna']);
});

test('topics are free until a permission is set for their exchange', () => {
  const access = grant('.*', '.*', '.*');
  const at = (exchange: string, clientId = '') => ({ exchange, clientId });
  expect(access.allows('write', 'topic', 'a.b', at('amq.topic'))).toBe(true);
  permissions.setTopic('/', 'anna', 'amq.topic', { write: '^{username}\\.{client_id}\\.', read: '^news' });
  expect(access.allows('write', 'topic', 'anna.c1.x', at('amq.topic', 'c1'))).toBe(true);
  expect(access.allows('write', 'topic', 'anna.c2.x', at('amq.topic', 'c1'))).toBe(false);
  expect(access.allows('write', 'topic', 'a.b', at('other'))).toBe(true);
  expect(access.allows('read', 'topic', 'news.1', at('amq.topic'))).toBe(true);
});

test('a client id is no pattern: `.*` stands for itself', () => {
  const access = grant('.*', '.*', '.*');
  permissions.setTopic('/', 'anna', 'amq.topic', { write: '^{client_id}$', read: '' });
  expect(access.allows('write', 'topic', 'anything', { exchange: 'amq.topic', clientId: '.*' })).toBe(false);
  expect(access.allows('write', 'topic', '.*', { exchange: 'amq.topic', clientId: '.*' })).toBe(true);
});

test('a pattern that is none is refused and changes nothing', () => {
  const access = grant('.*', '.*', '.*');
  expect(() => grant('(', '.*', '.*')).toThrow(/'\(' is no pattern/);
  expect(access.allows('configure', 'queue', 'q')).toBe(true);
});
