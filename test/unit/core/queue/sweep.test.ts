import { expect, test } from 'vitest';
import type { LocalQueue } from '../../../../src/core/queue/local-queue.ts';
import { Core, TestConsumer } from '../../../support/core.ts';
import { JournaledBroker } from '../../../support/journaled.ts';
import { SimulatedDisk } from '../../../support/simulated-disk.ts';

/** Offered in one turn at most. */
const sliceMax = 1024;

/** Wants every body that ends in 7; how often it was asked. */
function sevens(core: { client: Core['client'] }, credit: number) {
  const rig = { asked: 0 };
  const selector = ({ body }: { body: Buffer }): boolean => {
    rig.asked += 1;
    return body.at(-1) === 0x37;
  };
  return Object.assign(rig, { consumer: new TestConsumer(core.client, { credit, selector }) });
}

function bodies(count: number): string[] {
  return Array.from({ length: count }, (_, i) => String(i));
}

const isSeven = (body: string): boolean => body.endsWith('7');

async function openCold(count: number): Promise<{ core: JournaledBroker; queue: LocalQueue }> {
  const disk = new SimulatedDisk();
  const before = await JournaledBroker.openCold(disk, { segmentBytes: 4 * 1024 * 1024 });
  before.declare('q');
  for (const body of bodies(count)) before.publish('q', body);
  await before.durable();
  const options = { segmentBytes: 4 * 1024 * 1024 };
  const core = await JournaledBroker.openCold(SimulatedDisk.holding(disk.contents()), options);
  return { core, queue: core.vhost.queues.get('q')! };
}

async function turns(core: JournaledBroker, isDone: () => boolean): Promise<void> {
  for (let i = 0; i < 10_000 && !isDone(); i++) {
    await new Promise((resolve) => setImmediate(resolve));
    core.clock.advance(0);
  }
}

test('a long backlog in memory is offered in slices, and answered when all of it was', async () => {
  const core = new Core();
  const queue = core.declare('q');
  for (const body of bodies(5000)) core.publish('', 'q', body);
  const rig = sevens(core, Number.POSITIVE_INFINITY);
  const { consumer } = rig;
  queue.attach(consumer);
  expect(rig.asked).toBe(sliceMax);
  expect(consumer.bodies).toEqual(bodies(sliceMax).filter(isSeven));
  const served = queue.serve();
  core.publish('', 'q', '9997');
  for (let i = 0; i < 10; i++) core.clock.advance(1);
  await served;
  const got = consumer.bodies.filter((body) => body !== '9997');
  expect(got).toEqual(bodies(5000).filter(isSeven));
  expect(consumer.bodies).toContain('9997');
  expect(queue.counts.ready).toBe(4500);
});

test('what comes, goes and comes back between two slices is offered once', () => {
  const core = new Core();
  const queue = core.declare('q');
  for (const body of bodies(3000)) core.publish('', 'q', body);
  const { consumer } = sevens(core, Number.POSITIVE_INFINITY);
  queue.attach(consumer);
  const taken = consumer.entries.slice();
  taken[0]!.requeue(); // 7, which is behind the sweep by now
  taken[1]!.ack();
  (queue as LocalQueue).purge();
  core.publish('', 'q', '17');
  for (let i = 0; i < 5; i++) core.clock.advance(1);
  expect(consumer.bodies.slice(taken.length)).toEqual(['17']);
  expect(queue.counts).toMatchObject({ ready: 0 });
});

test('a sweep ends where nobody takes any more, and the next goes on there', () => {
  const core = new Core();
  const queue = core.declare('q');
  for (const body of bodies(5000)) core.publish('', 'q', body.replaceAll('7', '6'));
  for (let i = 0; i < 100; i++) core.publish('', 'q', `${i}x7`);
  const rig = sevens(core, 1);
  queue.attach(rig.consumer);
  for (let i = 0; i < 300 && rig.consumer.entries.length < 100; i++) {
    core.clock.advance(1);
    if (rig.consumer.credit > 0) continue;
    if (rig.consumer.entries.length > 1) rig.consumer.entries.at(-1)!.ack();
    rig.consumer.credit = 1;
    queue.wake();
  }
  expect(rig.consumer.bodies).toEqual(Array.from({ length: 100 }, (_, i) => `${i}x7`));
  expect(rig.asked).toBeLessThan(5500); // not 5000 for each of them
  rig.consumer.entries[0]!.requeue();
  rig.consumer.credit = 1;
  queue.wake();
  core.clock.advance(1);
  expect(rig.consumer.bodies.at(-1)).toBe('0x7'); // it stands ahead of where the sweep was
});

test('whoever asked to be served is answered, though others became ready or the queue was purged while it was read', async () => {
  const { core, queue } = await openCold(10_000);
  const first = sevens(core, Number.POSITIVE_INFINITY).consumer;
  const second = sevens(core, 0).consumer;
  queue.attach(first);
  queue.attach(second);
  let served = 0;
  void Promise.resolve(queue.serve()).then(() => {
    served += 1;
  });
  second.credit = 10;
  queue.wake();
  await turns(core, () => served === 1);
  expect(served).toBe(1);
  expect(first.entries.length + second.entries.length).toBe(1000);
  const third = sevens(core, Number.POSITIVE_INFINITY).consumer;
  queue.attach(third);
  void Promise.resolve(queue.serve()).then(() => {
    served += 1;
  });
  void queue.purge();
  await turns(core, () => served === 2);
  expect(served).toBe(2);
});
