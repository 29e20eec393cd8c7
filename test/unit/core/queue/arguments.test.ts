import { expect, test } from 'vitest';
import type { Value } from '../../../../src/core/properties.ts';
import { Core, int } from '../../../support/core.ts';

test.each<[string, Value, string]>([
  ['x-message-ttl', int(-1), '{value_negative,-1}'],
  ['x-message-ttl', 'soon', '"expected integer, got longstr"'],
  ['x-message-ttl', { type: 'long', value: 315360000001n }, '{value_too_big,315360000001}'],
  ['x-expires', int(0), '{value_zero,0}'],
  ['x-max-length', int(-5), '{value_negative,-5}'],
  ['x-max-length-bytes', true, '"expected integer, got bool"'],
  ['x-overflow', 'drop-tail', 'invalid_overflow'],
  ['x-dead-letter-routing-key', 'k', 'routing_key_but_no_dlx_defined'],
  ['x-max-priority', int(256), '{max_value_exceeded,256}'],
  ['x-single-active-consumer', int(1), '{unacceptable_type,signedint}'],
])('%s of %o is refused', (name, value, why) => {
  const core = new Core();
  expect(() => core.declare('orders', { [name]: value })).toThrow(
    `invalid arg '${name}' for queue 'orders' in vhost '/': ${why}`,
  );
  expect(core.vhost.queues.has('orders')).toBe(false);
});

test('declaring again with the same arguments, whatever the width of their numbers, finds the queue', () => {
  const core = new Core();
  const queue = core.declare('orders', { 'x-message-ttl': int(5), 'x-own': 'a' });
  expect(core.declare('orders', { 'x-message-ttl': { type: 'long', value: 5n }, 'x-own': 'b' })).toBe(queue);
});

test.each<[Record<string, Value>, Record<string, Value>, string]>([
  [{}, { 'x-message-ttl': int(5) }, "received the value '5' of type 'signedint' but current is none"],
  [{ 'x-message-ttl': int(5) }, {}, "received none but current is the value '5' of type 'signedint'"],
  [{ 'x-message-ttl': int(5) }, { 'x-message-ttl': { type: 'long', value: 6n } }, "received '6' but current is '5'"],
])('declaring again differently is refused (%#)', (current, wanted, text) => {
  const core = new Core();
  core.declare('orders', current);
  expect(() => core.declare('orders', wanted)).toThrow(
    `inequivalent arg 'x-message-ttl' for queue 'orders' in vhost '/': ${text}`,
  );
});

test('the plain fields are compared first', () => {
  const core = new Core();
  core.declare('orders', {}, true);
  expect(() => core.declare('orders', {}, false)).toThrow(
    "inequivalent arg 'durable' for queue 'orders' in vhost '/': received 'false' but current is 'true'",
  );
});

test.each<[Record<string, Value>, string]>([
  [{ 'x-queue-type': 'quorum', 'x-max-priority': int(5) }, "'x-max-priority'%of queue type rabbit_quorum_queue"],
  [{ 'x-queue-type': 'quorum', 'x-queue-mode': 'lazy' }, "'x-queue-mode'%of queue type rabbit_quorum_queue"],
  [{ 'x-quorum-initial-group-size': int(3) }, "'x-quorum-initial-group-size'%of queue type rabbit_classic_queue"],
  [{ 'x-dead-letter-strategy': 'at-least-once' }, "'x-dead-letter-strategy'%of queue type rabbit_classic_queue"],
])('%o is for the other type', (args, text) => {
  const core = new Core();
  const words = text.replace('%', " for queue 'orders' in vhost '/' ");
  expect(() => core.declare('orders', args, true)).toThrow(`invalid arg ${words}`);
});

test.each<[string, Value, string]>([
  ['x-queue-type', 'stream', '"unsupported queue type \'stream\'"'],
  ['x-queue-type', 'foo', '"unsupported queue type \'foo\'"'],
  ['x-queue-type', int(3), '{unacceptable_type,signedint}'],
  ['x-queue-mode', 'foo', '"unsupported queue mode \'foo\'"'],
  ['x-queue-version', int(9), '"unsupported queue version \'9\'"'],
  ['x-queue-version', 'a', '"expected integer, got longstr"'],
  ['x-delivery-limit', 'a', '"expected integer, got longstr"'],
  ['x-retry-delays', '1s,soon', '"\'soon\' is no time"'],
  ['x-rate-limit', '100', '"\'100\' is no rate, as 100/s is"'],
  ['x-priority-mode', 'fair', '"unsupported priority mode \'fair\'"'],
])('%s of %o is refused', (name, value, why) => {
  const core = new Core();
  expect(() => core.declare('orders', { [name]: value })).toThrow(
    `invalid arg '${name}' for queue 'orders' in vhost '/': ${why}`,
  );
});

test('a quorum queue is durable, nobody alone has it, and it does not go by itself', () => {
  const { vhost, client } = new Core();
  const spec = {
    name: 'orders',
    durable: true,
    autoDelete: false,
    exclusiveTo: null,
    arguments: new Map([['x-queue-type', 'quorum']]),
  };
  const property = (name: string) => `invalid property '${name}' for queue 'orders' in vhost '/'`;
  expect(() => vhost.declareQueue(client, { ...spec, durable: false })).toThrow(property('non-durable'));
  expect(() => vhost.declareQueue(client, { ...spec, exclusiveTo: client })).toThrow(property('exclusive-owner'));
  expect(() => vhost.declareQueue(client, { ...spec, autoDelete: true })).toThrow(property('auto-delete'));
  expect(() => vhost.declareQueue(client, spec, 'generated')).toThrow('Cannot declare a server-named queue');
  expect(vhost.declareQueue(client, spec).options).toMatchObject({ type: 'quorum', deliveryLimit: 20 });
});

test('that a queue is classic can be said or left out', () => {
  const core = new Core();
  const queue = core.declare('orders');
  expect(core.declare('orders', { 'x-queue-type': 'classic' })).toBe(queue);
});
