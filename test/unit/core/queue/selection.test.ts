import { expect, test } from 'vitest';
import { noHeaders } from '../../../../src/core/properties.ts';
import type { LocalQueue } from '../../../../src/core/queue/local-queue.ts';
import { Core, createMessage, TestConsumer } from '../../../support/core.ts';
import { JournaledBroker } from '../../../support/journaled.ts';
import { SimulatedDisk } from '../../../support/simulated-disk.ts';

function selecting(core: Core, prefix: string, credit = Number.POSITIVE_INFINITY): TestConsumer {
  return new TestConsumer(core.client, { credit, selector: ({ body }) => body.toString().startsWith(prefix) });
}

function setUp() {
  const core = new Core();
  const queue = core.vhost.declareQueue(core.client, {
    name: 'q',
    durable: true,
    autoDelete: false,
    exclusiveTo: null,
    arguments: noHeaders,
  });
  const publish = (...bodies: string[]): void => {
    for (const body of bodies) {
      core.vhost.publish(core.vhost.routeFor('', 'q'), createMessage(body, { key: 'q' }), null, 0);
    }
  };
  return { core, queue, publish };
}

test('each consumer gets what it selects, and what nobody selects holds up nothing', () => {
  const { core, queue, publish } = setUp();
  publish('a1', 'b1');
  const a = selecting(core, 'a');
  queue.attach(a);
  publish('c1', 'a2', 'b2', 'a3');
  expect(a.bodies).toEqual(['a1', 'a2', 'a3']);
  const b = selecting(core, 'b');
  queue.attach(b);
  expect(b.bodies).toEqual(['b1', 'b2']);
  expect(queue.counts.ready).toBe(1);
});

test('what waits for a consumer without credit does not hold up another', () => {
  const { core, queue, publish } = setUp();
  const a = selecting(core, 'a', 1);
  const b = selecting(core, 'b');
  queue.attach(a);
  queue.attach(b);
  publish('a1', 'a2', 'b1', 'a3', 'b2');
  expect(a.bodies).toEqual(['a1']);
  expect(b.bodies).toEqual(['b1', 'b2']);
  a.grant(1, queue);
  expect(a.bodies).toEqual(['a1', 'a2']);
  a.grant(5, queue);
  expect(a.bodies).toEqual(['a1', 'a2', 'a3']);
});

test('a consumer without a selector takes what is left, in the order of publishing', () => {
  const { core, queue, publish } = setUp();
  queue.attach(selecting(core, 'a'));
  publish('b1', 'c1', 'b2');
  const all = new TestConsumer(core.client);
  queue.attach(all);
  expect(all.bodies).toEqual(['b1', 'c1', 'b2']);
});

test('what comes back is for whoever selects it, in its place', () => {
  const { core, queue, publish } = setUp();
  const a = selecting(core, 'a', 2);
  queue.attach(a);
  publish('a1', 'x', 'a2', 'a3');
  a.entries[0]!.requeue();
  a.grant(1, queue);
  expect(a.bodies).toEqual(['a1', 'a2', 'a1']);
  a.grant(1, queue);
  expect(a.bodies).toEqual(['a1', 'a2', 'a1', 'a3']);
});

test('what a selector takes of the part that has left memory, and is settled at once, is gone after a restart', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.openCold(disk, { segmentBytes: 64 * 1024 });
  const queue = core.declare('q') as LocalQueue;
  for (let i = 0; i < 100; i++) core.send('q', String(i), {});
  await core.durable();
  queue.page({ store: core.journal.cold, sliceEntries: 8192, failed: () => expect.fail() }, 16);
  const consumer = new TestConsumer(core.client, {
    settles: true,
    selector: (message) => Number(message.body.toString()) % 2 === 0,
  });
  queue.attach(consumer);
  for (let i = 0; i < 20; i++) await new Promise(setImmediate);
  expect(consumer.bodies).toHaveLength(50);
  await core.durable();
  const again = await JournaledBroker.open(SimulatedDisk.holding(disk.contents()));
  expect(again.vhost.queues.get('q')!.counts.ready).toBe(50);
});
