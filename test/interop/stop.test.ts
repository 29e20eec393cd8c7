import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Value } from '../../src/core/properties.ts';
import { encodeProperties } from '../../src/protocols/amqp091/properties.ts';
import { methods } from '../../src/protocols/amqp091/spec.ts';
import { decodeTable } from '../../src/protocols/amqp091/table.ts';
import { AmqpPeer } from '../support/amqp-peer.ts';
import { ApiClient } from '../support/api-client.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { int } from '../support/core.ts';

/**
 * Many connections that end at once: what one had must not go from each to the next, counted each time, until it has come
 * back more often than its queue allows.
 */

let broker: BrokerProcess;
const consumers: AmqpPeer[] = [];

beforeEach(async () => {
  broker = await BrokerProcess.start();
  const declaring = await AmqpPeer.openChannel(broker.port('amqp'));
  const args = new Map<string, Value>([
    ['x-queue-type', 'quorum'],
    ['x-delivery-limit', int(2)],
  ]);
  await declaring.declare('q', { durable: true, arguments: args });
  declaring.destroy();
});
afterEach(async () => {
  for (const peer of consumers.splice(0)) peer.destroy();
  await broker.remove();
});

/** Six of them consume, and the first has got the one message, which is durable. */
async function consumeAsSix(user: string): Promise<void> {
  const login = { user, password: user };
  for (let i = 0; i < 6; i++) {
    const peer = await AmqpPeer.openChannel(broker.port('amqp'), login);
    await peer.call(1, methods.basicConsume, { queue: 'q' }, methods.basicConsumeOk);
    consumers.push(peer);
  }
  const durable = encodeProperties({ headers: new Map(), durable: true }, null as never);
  consumers[5]!.publish(1, { routingKey: 'q' }, 'm', durable);
  expect((await consumers[0]!.content()).body.toString()).toBe('m');
}

async function timesThatItCameBack(): Promise<Value | undefined> {
  const peer = await AmqpPeer.openChannel(broker.port('amqp'));
  consumers.push(peer);
  const got = await peer.get('q');
  return got === null ? undefined : decodeTable(got.native, 2).get('x-delivery-count');
}

test('the broker stops', async () => {
  await consumeAsSix('guest');
  const { dataDir } = broker;
  await broker.stop();
  const stopped = broker;
  broker = await BrokerProcess.start({ dataDir });
  expect(await timesThatItCameBack()).toEqual({ type: 'long', value: 1n });
  await broker.stop();
  broker = stopped; // whose directory it is
});

test.each([
  ['their user is deleted', 'users/ada'],
  ['an operator closes all connections of their user', 'connections/username/ada'],
])('%s', async (_what, path) => {
  const api = new ApiClient(broker.port('management'));
  await api.put('users/ada', { password: 'ada', tags: '' });
  await api.put('permissions/%2F/ada', { configure: '', write: '.*', read: '.*' });
  await consumeAsSix('ada');
  expect((await api.delete(path)).status).toBe(204);
  expect(await timesThatItCameBack()).toEqual({ type: 'long', value: 1n });
});
