import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { encodeMethod } from '../../../src/protocols/amqp091/methods.ts';
import { methods, protocolHeader } from '../../../src/protocols/amqp091/spec.ts';
import { AmqpPeer, contentFrames } from '../../support/amqp-peer.ts';
import { BrokerProcess } from '../../support/broker-process.ts';

let broker: BrokerProcess;
beforeAll(async () => {
  broker = await BrokerProcess.start();
});
afterAll(() => broker?.remove());

const session = Buffer.concat([
  encodeMethod(1, methods.channelOpen),
  encodeMethod(1, methods.queueDeclare, { queue: 'hostile', exclusive: true }),
  encodeMethod(1, methods.confirmSelect),
  encodeMethod(1, methods.basicConsume, { queue: 'hostile', consumerTag: 't' }),
  contentFrames(1, { routingKey: 'hostile', mandatory: true }, Buffer.from('body')),
  encodeMethod(1, methods.basicAck, { deliveryTag: 1 }),
  encodeMethod(1, methods.queueDelete, { queue: 'hostile' }),
  encodeMethod(0, methods.connectionClose, { replyCode: 200 }),
]);

/** Sends octets behind a whole login or before any, and half-closes: whatever they are, the broker must hang up. */
async function survive(octets: Uint8Array, loggedIn = true): Promise<void> {
  const port = broker.port('amqp');
  const peer = loggedIn ? await AmqpPeer.open(port) : await AmqpPeer.connect(port);
  peer.socket.end(octets);
  await peer.end();
  peer.destroy();
}

async function stillServes(): Promise<void> {
  const peer = await AmqpPeer.openChannel(broker.port('amqp'));
  await peer.declare('', { exclusive: true });
  peer.destroy();
  expect(broker.log).not.toMatch(/a fault of ours/);
}

test('random octets, before and after the login', async () => {
  await fc.assert(
    fc.asyncProperty(fc.boolean(), fc.uint8Array({ maxLength: 400 }), async (loggedIn, octets) => {
      await survive(loggedIn ? octets : Buffer.concat([protocolHeader, octets]), loggedIn);
    }),
    { numRuns: 150 },
  );
  await stillServes();
});

test('a session in which some octets were changed', async () => {
  const change = fc.tuple(fc.nat(session.length - 1), fc.integer({ min: 0, max: 255 }));
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
      const octets = Buffer.from(session);
      for (const [at, octet] of changes) octets[at] = octet;
      await survive(octets);
    }),
    { numRuns: 300 },
  );
  await stillServes();
});

test('a session that ends at any octet', async () => {
  for (let length = 0; length < session.length; length++) {
    await survive(session.subarray(0, length));
  }
  await stillServes();
});
