import { expect, test } from 'vitest';
import type { Policy, PolicyDefinition } from '../../../src/core/policies.ts';
import type { LocalQueue } from '../../../src/core/queue/local-queue.ts';
import { Core, drain, int } from '../../support/core.ts';

function policy(definition: PolicyDefinition, more: Partial<Policy> = {}): Policy {
  return { name: 'p', pattern: '^q', applyTo: 'queues', priority: 0, definition, ...more };
}

function queueOf(core: Core, name = 'q'): LocalQueue {
  return core.vhost.queues.get(name)!;
}

test('a policy holds at once for the queue that is there, and its going too', () => {
  const core = new Core();
  const queue = core.declare('q');
  for (const body of ['1', '2', '3']) core.publish('', 'q', body);
  core.vhost.policies.set(policy({ 'max-length': 2 }));
  expect(queue.counts.ready).toBe(2);
  core.publish('', 'q', '4');
  expect(queue.counts.ready).toBe(2);
  core.vhost.policies.delete('p');
  core.publish('', 'q', '5');
  expect(drain(queue)).toEqual(['3', '4', '5']);
});

test('a time to live shortens what waits, an expiry begins when it comes, a dead letter address is used', () => {
  const core = new Core();
  const queue = core.declare('q');
  const dead = core.declare('dead');
  core.publish('', 'q', 'm');
  core.clock.advance(1000);
  core.vhost.policies.set(
    policy({ 'message-ttl': 100, expires: 5000, 'dead-letter-exchange': '', 'dead-letter-routing-key': 'dead' }),
  );
  core.clock.advance(99);
  expect(queue.counts.ready).toBe(1);
  core.clock.advance(1);
  expect(drain(dead)).toEqual(['m']);
  core.clock.advance(4900);
  expect(core.vhost.queues.has('q')).toBe(false);
});

test('of numbers in argument, policy and operator policy the smallest holds; else the argument', () => {
  const core = new Core();
  core.declare('q', { 'x-max-length': int(5), 'x-overflow': 'reject-publish', 'x-message-ttl': int(1000) });
  core.vhost.policies.set(policy({ 'max-length': 7, overflow: 'drop-head', 'message-ttl': 500, expires: 9000 }));
  core.vhost.operatorPolicies.set(policy({ 'max-length': 6, 'message-ttl': 700, expires: 8000 }, { name: 'o' }));
  expect(queueOf(core).options).toMatchObject({
    maxLength: 5,
    overflow: 'reject-publish',
    messageTtlMs: 500,
    expiresMs: 8000,
  });
  expect(queueOf(core).policyDefinition).toEqual({
    'max-length': 6,
    overflow: 'drop-head',
    'message-ttl': 500,
    expires: 8000,
  });
  expect(queueOf(core).effective.get('x-message-ttl')).toEqual({ type: 'long', value: 500n });
  expect(queueOf(core).spec.arguments.get('x-message-ttl')).toEqual(int(1000));
});

test('of several policies that match the highest priority alone holds', () => {
  const core = new Core();
  core.declare('q1');
  core.vhost.policies.set(policy({ 'max-length': 1, expires: 10 }, { name: 'low', priority: 1 }));
  core.vhost.policies.set(policy({ 'max-length': 2 }, { name: 'high', priority: 2, pattern: '1$' }));
  expect(queueOf(core, 'q1')).toMatchObject({ policy: { name: 'high' }, options: { maxLength: 2, expiresMs: -1 } });
  core.vhost.policies.delete('high');
  expect(queueOf(core, 'q1').policy?.name).toBe('low');
});

test.each([
  ['queues', true, true],
  ['classic_queues', true, false],
  ['quorum_queues', false, true],
  ['streams', false, false],
  ['exchanges', false, false],
  ['all', true, true],
] as const)('a policy for %s', (applyTo, classic, quorum) => {
  const core = new Core();
  core.vhost.policies.set(policy({ 'message-ttl': 5 }, { applyTo }));
  core.declare('q-classic');
  core.declare('q-quorum', { 'x-queue-type': 'quorum' }, true);
  expect(queueOf(core, 'q-classic').options.messageTtlMs).toBe(classic ? 5 : -1);
  expect(queueOf(core, 'q-quorum').options.messageTtlMs).toBe(quorum ? 5 : -1);
});

test('an alternate exchange by policy takes what nobody is bound for', () => {
  const core = new Core();
  const lost = core.declare('lost');
  core.vhost.bind(core.client, 'amq.fanout', lost, '', new Map());
  expect(core.publish('amq.direct', 'k', 'before')).toBe('unroutable');
  core.vhost.policies.set(policy({ 'alternate-exchange': 'amq.fanout' }, { applyTo: 'exchanges', pattern: 'direct$' }));
  expect(core.publish('amq.direct', 'k', 'm')).toBe('routed');
  expect(drain(lost)).toEqual(['m']);
});

test.each<[PolicyDefinition, RegExp]>([
  [{}, /empty/],
  [{ 'no-such-key': 1 }, /not recognised/],
  [{ 'max-length': -1 }, /not a valid value of 'max-length'/],
  [{ expires: 0 }, /not a valid value of 'expires'/],
  [{ overflow: 'drop-tail' }, /not a valid value of 'overflow'/],
])('%o is refused', (definition, why) => {
  const core = new Core();
  expect(() => core.vhost.policies.set(policy(definition))).toThrow(why);
});

test('an operator caps, and does not redirect', () => {
  const core = new Core();
  expect(() => core.vhost.operatorPolicies.set(policy({ 'dead-letter-exchange': 'x' }))).toThrow(/not recognised/);
});

test('under redeclare: migrate other arguments change the queue; its type stays', () => {
  const core = new Core();
  const queue = core.declare('q', { 'x-max-length': int(1) });
  expect(() => core.declare('q', { 'x-max-length': int(3) })).toThrow(/inequivalent arg 'x-max-length'/);
  core.vhost.policies.set(policy({ redeclare: 'migrate' }));
  expect(core.declare('q', { 'x-max-length': int(3), 'x-max-priority': int(5) })).toBe(queue);
  for (const [body, priority] of [['low', 1] as const, ['high', 4] as const]) core.publish('', 'q', body, { priority });
  expect(drain(queue)).toEqual(['high', 'low']);
  expect(() => core.declare('q', { 'x-queue-type': 'quorum' })).toThrow(/inequivalent arg 'x-queue-type'/);
  expect(() => core.declare('q', { 'x-max-length': int(-3) })).toThrow(/value_negative/);
});

test.each([
  ['classic', { 'dead-letter-strategy': 'at-least-once', 'dead-letter-exchange': 'x', overflow: 'reject-publish' }],
  ['quorum', { 'queue-mode': 'lazy' }],
  ['quorum', { 'queue-version': 2 }],
  ['classic', { 'priority-mode': 'weighted', 'priority-weights': '1,2,3,4,5,6' }],
])('a %s queue leaves aside what a policy says for others: %o', (type, definition) => {
  const core = new Core();
  const args = { 'x-queue-type': type, ...(type === 'classic' ? { 'x-max-priority': int(2) } : {}) };
  const queue = core.declare('q', args, true) as LocalQueue;
  core.vhost.policies.set(policy(definition, { pattern: '.*' }));
  expect(queue.policyDefinition).toEqual(definition);
  core.declare('later', args, true);
  core.publish('', 'later', 'm');
  expect(drain(queueOf(core, 'later'))).toEqual(['m']);
});

test('a delivery limit below 0 is none: another number is the smaller', () => {
  const core = new Core();
  const queue = core.declare('q', { 'x-queue-type': 'quorum' }, true) as LocalQueue;
  core.vhost.policies.set(policy({ 'delivery-limit': -1 }));
  expect(queue.options.deliveryLimit).toBe(-1);
  core.vhost.operatorPolicies.set(policy({ 'delivery-limit': 50 }));
  expect(queue.options.deliveryLimit).toBe(50);
  const own = core.declare('own', { 'x-queue-type': 'quorum', 'x-delivery-limit': int(7) }, true) as LocalQueue;
  core.vhost.policies.set(policy({ 'delivery-limit': -1 }, { name: 'own', pattern: 'own' }));
  expect(own.options.deliveryLimit).toBe(7);
});
