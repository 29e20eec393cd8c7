import { duplexPair } from 'node:stream';
import { expect, test } from 'vitest';
import { Connection } from '../../../../src/protocols/amqp10/connection.ts';
import { Amqp10 } from '../../../../src/protocols/amqp10/protocol.ts';
import { AmqpMap } from '../../../../src/protocols/amqp10/types.ts';
import { Stream } from '../../../../src/transport/stream.ts';
import { Core, everything } from '../../../support/core.ts';

/** What a turn wrote leaves at its end. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** An open connection of a peer that wants to hear something so often. @returns when it was written to */
function connect(idleMs: number): { core: Core; writtenMs: () => number; end: () => void } {
  const core = new Core();
  const { broker } = core;
  const door = new Amqp10(broker, {
    frameMax: 131_072,
    sessionsMax: 10,
    messageBytes: 1000,
    heartbeatSeconds: 0,
    loginTimeoutMs: 1000,
    rejectsLosses: false,
    anonymous: false,
    vhost: '/',
    createQueues: true,
    unroutable: 'released',
    product: 'test',
    version: '0.0.0',
  });
  const [ours, theirs] = duplexPair();
  theirs.resume();
  const remote = { address: '127.0.0.1', port: 1, local: '127.0.0.1:5672' };
  const stream = new Stream(ours, broker.clock, broker.log, remote);
  const connection = new Connection(stream, door, {
    user: 'guest',
    vhost: core.vhost,
    access: everything,
    mechanism: 'PLAIN',
    containerId: 'c',
    frameMax: 4096,
    channelMax: 1,
    idleMs,
    properties: new AmqpMap([]),
  });
  stream.handler = connection;
  return { core, writtenMs: () => stream.lastWriteMs, end: () => connection.onClose('') };
}

test.each([1000, 1500, 1999])('[1.0 §2.4.5-1] a peer that waits for %i ms never waits so long', async (idleMs) => {
  const { core, writtenMs } = connect(idleMs);
  for (let passed = 0; passed < 10_000; passed += 10) {
    core.clock.advance(10);
    await turn();
    expect(core.clock.nowMs - writtenMs()).toBeLessThan(idleMs);
  }
});

test('a connection that is gone is written to no more', async () => {
  const { core, writtenMs, end } = connect(1000);
  end();
  core.clock.advance(5000);
  await turn();
  expect(writtenMs()).toBeLessThan(core.clock.nowMs - 4000);
});
