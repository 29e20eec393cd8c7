import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Properties, Value } from '../../../../src/core/properties.ts';
import type { LocalQueue } from '../../../../src/core/queue/local-queue.ts';
import { Core, int, TestConsumer } from '../../../support/core.ts';
import { JournaledBroker } from '../../../support/journaled.ts';
import { SimulatedDisk } from '../../../support/simulated-disk.ts';

type ConsumerOptions = ConstructorParameters<typeof TestConsumer>[1];

class Rig {
  readonly core = new Core();
  readonly queue: LocalQueue;

  constructor(args: Readonly<Record<string, Value>> = {}) {
    this.queue = this.core.declare('q', { 'x-message-groups': true, ...args }) as LocalQueue;
  }

  /** The first letter of the body is the group. */
  publish(...bodies: string[]): void {
    for (const body of bodies) this.core.publish('', 'q', body, { groupId: body[0]! });
  }

  send(body: string, properties: Partial<Properties>): void {
    this.core.publish('', 'q', body, properties);
  }

  consume(options: ConsumerOptions = {}): TestConsumer {
    const consumer = new TestConsumer(this.core.client, options);
    this.queue.attach(consumer);
    return consumer;
  }

  /** Acks the oldest that the consumer has, and gives it credit for another. */
  ack(consumer: TestConsumer, count = 1): void {
    for (let i = 0; i < count; i++) consumer.entries.find(({ state }) => state === 'unacked')?.ack();
    consumer.grant(count, this.queue);
    this.core.clock.advance(0);
  }
}

test('the messages of a group go to one consumer, those of others meanwhile to others', () => {
  const rig = new Rig();
  const [first, second] = [rig.consume(), rig.consume()];
  rig.publish('a1', 'b1', 'a2', 'b2', 'b3', 'a3');
  expect(first.bodies).toEqual(['a1', 'a2', 'a3']);
  expect(second.bodies).toEqual(['b1', 'b2', 'b3']);
});

test('messages that waited are shared out by group too', () => {
  const rig = new Rig();
  rig.publish('a1', 'a2', 'b1', 'a3', 'c1', 'b2');
  const first = rig.consume({ credit: 0 });
  const second = rig.consume({ credit: 0 });
  first.grant(1, rig.queue);
  second.grant(9, rig.queue);
  expect([first.bodies, second.bodies]).toEqual([['a1'], ['b1', 'c1', 'b2']]);
  rig.ack(first);
  rig.ack(first);
  expect(first.bodies).toEqual(['a1', 'a2', 'a3']);
});

test('a group whose consumer has no credit waits, and holds up no other', () => {
  const rig = new Rig();
  const first = rig.consume({ credit: 1 });
  const second = rig.consume();
  rig.publish('a1', 'a2', 'b1', 'a3', 'b2');
  expect([first.bodies, second.bodies]).toEqual([['a1'], ['b1', 'b2']]);
  expect(rig.queue.counts).toMatchObject({ ready: 2, unacked: 3 });
  rig.ack(first, 2);
  expect(first.bodies).toEqual(['a1', 'a2', 'a3']);
});

test('a group stays with its consumer while that has its messages, and after it', () => {
  const rig = new Rig();
  const [first, second] = [rig.consume({ credit: 1 }), rig.consume({ credit: 1 })];
  for (const body of ['a1', 'a2', 'a3']) {
    rig.publish(body);
    rig.ack(first);
  }
  expect([first.bodies, second.bodies]).toEqual([['a1', 'a2', 'a3'], []]);
});

test('a group without messages, whose consumer is not ready, goes to another', () => {
  const rig = new Rig();
  const [first, second] = [rig.consume({ credit: 1 }), rig.consume({ credit: 2 })];
  rig.publish('a1');
  first.entries[0]!.ack();
  rig.publish('a2');
  expect([first.bodies, second.bodies]).toEqual([['a1'], ['a2']]);
});

test('messages without a group go to whoever is ready', () => {
  const rig = new Rig();
  const [first, second] = [rig.consume(), rig.consume()];
  for (const body of ['1', '2', '3', '4']) rig.send(body, {});
  expect([first.bodies, second.bodies]).toEqual([
    ['1', '3'],
    ['2', '4'],
  ]);
});

test.each<[string, Partial<Properties>]>([
  ['group-id', { groupId: 'g' }],
  ['JMSXGroupID', { headers: new Map([['JMSXGroupID', 'g']]) }],
])('the group is named by %s', (_, properties) => {
  const rig = new Rig();
  const [first, second] = [rig.consume(), rig.consume()];
  rig.send('1', properties);
  rig.send('2', properties);
  expect([first.bodies, second.bodies]).toEqual([['1', '2'], []]);
});

test('what is requeued is delivered again before the rest of its group', () => {
  const rig = new Rig();
  const [first, second] = [rig.consume({ credit: 1 }), rig.consume({ credit: 1 })];
  rig.publish('a1', 'a2', 'a3');
  first.entries[0]!.requeue();
  first.grant(1, rig.queue);
  expect([first.bodies, second.bodies]).toEqual([['a1', 'a1'], []]);
  expect(first.entries[1]!.redelivered).toBe(true);
  rig.ack(first);
  expect(first.bodies).toEqual(['a1', 'a1', 'a2']);
});

test('a message that waits to be delivered again holds up its group, and no other', () => {
  const rig = new Rig({ 'x-retry-delays': '1s' });
  const consumer = rig.consume({ credit: 1 });
  rig.publish('a1', 'a2', 'b1');
  consumer.entries[0]!.requeue();
  consumer.grant(5, rig.queue);
  expect(consumer.bodies).toEqual(['a1', 'b1']);
  rig.core.clock.advance(1000);
  expect(consumer.bodies).toEqual(['a1', 'b1', 'a1', 'a2']);
});

test('the groups of a consumer that leaves go on when all that it had has come back, in order', () => {
  const rig = new Rig();
  const first = rig.consume({ credit: 2 });
  rig.publish('a1', 'a2', 'a3');
  const second = rig.consume();
  expect(second.bodies).toEqual([]);
  rig.queue.detach(first);
  first.entries[0]!.requeue();
  expect(second.bodies).toEqual([]);
  first.entries[1]!.requeue();
  expect(second.bodies).toEqual(['a1', 'a2', 'a3']);
});

test('what a consumer that left settles lets its groups go on', () => {
  const rig = new Rig();
  const first = rig.consume({ credit: 1 });
  rig.publish('a1', 'a2');
  const second = rig.consume();
  rig.queue.detach(first);
  expect(second.bodies).toEqual([]);
  first.entries[0]!.ack();
  rig.core.clock.advance(0);
  expect(second.bodies).toEqual(['a2']);
});

test('a consumer that comes gets its share of the groups, each once its messages in other hands are settled', () => {
  const rig = new Rig();
  const first = rig.consume({ credit: 4 });
  rig.publish('a1', 'b1', 'c1', 'd1', 'a2', 'b2', 'c2', 'd2');
  const second = rig.consume();
  expect([first.bodies, second.bodies]).toEqual([['a1', 'b1', 'c1', 'd1'], []]);
  rig.ack(first, 4);
  expect(first.bodies).toEqual(['a1', 'b1', 'c1', 'd1', 'c2', 'd2']);
  expect(second.bodies).toEqual(['a2', 'b2']);
});

test('groups go to consumers of the highest priority while they are ready', () => {
  const rig = new Rig();
  const low = rig.consume({ priority: 1 });
  const high = rig.consume({ priority: 2, credit: 3 });
  rig.publish('a1', 'b1', 'a2', 'c1', 'a3');
  expect(high.bodies).toEqual(['a1', 'b1', 'a2']);
  expect(low.bodies).toEqual(['c1']);
});

test('of several, the consumer with the fewest groups gets the next', () => {
  const rig = new Rig();
  const consumers = [rig.consume(), rig.consume(), rig.consume()];
  rig.publish('a1', 'b1', 'c1', 'd1', 'e1', 'f1');
  expect(consumers.map(({ bodies }) => bodies.length)).toEqual([2, 2, 2]);
});

test('a negative sequence number closes a group: its next message begins another, when all of this are settled', () => {
  const rig = new Rig();
  const [first, second] = [rig.consume(), rig.consume()];
  rig.publish('a1');
  rig.send('b1', { groupId: 'b' });
  rig.send('b2', { groupId: 'b' });
  rig.send('a2', { groupId: 'a', headers: new Map([['JMSXGroupSeq', int(-1)]]) });
  rig.publish('a3');
  expect([first.bodies, second.bodies]).toEqual([
    ['a1', 'a2'],
    ['b1', 'b2'],
  ]);
  rig.ack(first, 2);
  expect(first.bodies).toEqual(['a1', 'a2', 'a3']);
});

test('a consumer that acknowledges by taking keeps its groups', () => {
  const rig = new Rig();
  const [first, second] = [rig.consume({ settles: true }), rig.consume({ settles: true })];
  rig.publish('a1', 'b1', 'a2', 'b2');
  expect([first.bodies, second.bodies]).toEqual([
    ['a1', 'a2'],
    ['b1', 'b2'],
  ]);
  expect(rig.queue.counts).toMatchObject({ ready: 0, unacked: 0 });
});

test('what is fetched holds up its group until it is settled', () => {
  const rig = new Rig();
  rig.publish('a1', 'a2', 'b1');
  const get = () => {
    const entry = rig.queue.get();
    if (entry instanceof Promise) throw new Error('not in memory');
    return entry;
  };
  const a1 = get();
  expect(a1?.message.body.toString()).toBe('a1');
  expect(get()?.message.body.toString()).toBe('b1');
  expect(get()).toBeUndefined();
  a1?.ack();
  expect(get()?.message.body.toString()).toBe('a2');
});

test('with a single active consumer all groups are its own, and then those of the next', () => {
  const rig = new Rig({ 'x-single-active-consumer': true });
  const [first, second] = [rig.consume(), rig.consume()];
  rig.publish('a1', 'b1');
  expect([first.bodies, second.bodies]).toEqual([['a1', 'b1'], []]);
  rig.queue.detach(first);
  for (const entry of first.entries) entry.requeue();
  rig.publish('a2');
  rig.core.clock.advance(0);
  expect(second.bodies).toEqual(['a1', 'b1', 'a2']);
});

test('the length limit drops the oldest, whichever group it is of', () => {
  const rig = new Rig({ 'x-max-length': int(3) });
  const first = rig.consume({ credit: 1 });
  rig.consume({ credit: 1 });
  rig.publish('a1', 'b1', 'a2', 'a3', 'b2', 'b3');
  expect(rig.queue.counts.ready).toBe(3);
  rig.ack(first, 3);
  expect(first.bodies).toEqual(['a1', 'a3']);
});

test('what expires while its group is held up is not delivered', () => {
  const rig = new Rig();
  const first = rig.consume({ credit: 1 });
  rig.publish('a1');
  rig.send('a2', { groupId: 'a', ttlMs: 50 });
  rig.publish('a3');
  rig.core.clock.advance(60);
  rig.ack(first, 3);
  expect(first.bodies).toEqual(['a1', 'a3']);
});

test('a purge empties what waits behind held up groups too', () => {
  const rig = new Rig();
  const first = rig.consume({ credit: 1 });
  rig.publish('a1', 'a2', 'b1');
  expect(rig.queue.purge()).toBe(2);
  expect(rig.queue.counts).toMatchObject({ ready: 0, unacked: 1 });
  rig.publish('a3');
  rig.ack(first, 3);
  expect(first.bodies).toEqual(['a1', 'a3']);
});

test('browsing shows what waits in the order of the queue', async () => {
  const rig = new Rig();
  rig.consume({ credit: 1 });
  rig.consume({ credit: 1 });
  rig.publish('a1', 'b1', 'a2', 'b2', 'a3');
  const entries = await rig.queue.browse(null, 10);
  expect(entries.map(({ message }) => message.body.toString())).toEqual(['a2', 'b2', 'a3']);
});

test('a policy turns groups on and off in a living queue', () => {
  const rig = new Rig();
  const { policies } = rig.core.vhost;
  const queue = rig.core.declare('p') as LocalQueue;
  const [first, second] = [new TestConsumer(rig.core.client), new TestConsumer(rig.core.client)];
  for (const consumer of [first, second]) queue.attach(consumer);
  const publish = (body: string) => rig.core.publish('', 'p', body, { groupId: 'g' });
  const applyTo = 'queues';
  policies.set({ name: 'g', pattern: 'p', applyTo, priority: 0, definition: { 'message-groups': true } });
  for (const body of ['1', '2', '3', '4']) publish(body);
  expect(first.bodies.length + second.bodies.length).toBe(4);
  expect(Math.min(first.bodies.length, second.bodies.length)).toBe(0);
  policies.delete('g');
  for (const body of ['5', '6']) publish(body);
  expect(Math.min(first.bodies.length, second.bodies.length)).toBe(1);
});

test('many groups, of which each has had its messages, are not remembered', () => {
  const rig = new Rig();
  rig.consume({ settles: true });
  rig.consume({ settles: true });
  for (let i = 0; i < 5000; i++) rig.send('m', { groupId: `g${i}` });
  expect(rig.queue.counts.ready).toBe(0);
  const { idle, groups } = (
    rig.queue as unknown as { groups: { idle: Map<string, object>; groups: Map<string, object> } }
  ).groups;
  expect(groups.size).toBe(0);
  expect(idle.size).toBeLessThanOrEqual(1024);
});

const step = fc.oneof(
  fc.record({ op: fc.constant('publish' as const), group: fc.nat(4) }),
  fc.record({ op: fc.constantFrom('ack' as const, 'requeue' as const, 'leave' as const), who: fc.nat(2) }),
  fc.record({ op: fc.constant('join' as const), who: fc.nat(2), credit: fc.integer({ min: 1, max: 3 }) }),
);

test('whatever consumers do, a group is in the hands of one, in order, and no message is lost', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 20, maxLength: 200 }), (steps) => {
      const rig = new Rig();
      const consumers: (TestConsumer | null)[] = [null, null, null];
      const published = new Map<string, number>();
      const acked = new Map<string, number>();
      const has = (consumer: TestConsumer) => {
        const own = consumer.entries.filter((entry) => entry.state === 'unacked' && entry.consumer === consumer);
        return [...new Set(own)]; // what was requeued may have come again
      };
      for (const next of steps) {
        if (next.op === 'publish') {
          const group = 'abcde'[next.group]!;
          const number = (published.get(group) ?? 0) + 1;
          published.set(group, number);
          rig.publish(`${group}${number}`);
        } else if (next.op === 'join') {
          consumers[next.who] ??= rig.consume({ credit: next.credit });
        } else {
          const consumer = consumers[next.who];
          if (consumer === null || consumer === undefined) continue;
          const [first] = has(consumer);
          if (next.op === 'leave') {
            rig.queue.detach(consumer);
            consumers[next.who] = null;
            for (const entry of has(consumer)) entry.requeue();
          } else if (next.op === 'requeue') {
            const entries = has(consumer);
            for (const entry of entries) entry.requeue();
            consumer.grant(entries.length, rig.queue);
          } else if (first !== undefined) {
            const body = first.message.body.toString();
            const number = Number(body.slice(1));
            // the first unacked of its group in anybody's hands is the next one that was not acked
            expect(number).toBe((acked.get(body[0]!) ?? 0) + 1);
            acked.set(body[0]!, number);
            first.ack();
            consumer.grant(1, rig.queue);
          }
        }
        rig.core.clock.advance(0);
        const hands = new Map<string, number>();
        for (const [who, consumer] of consumers.entries()) {
          for (const { message } of consumer === null ? [] : has(consumer)) {
            const group = message.body.toString()[0]!;
            expect(hands.get(group) ?? who).toBe(who);
            hands.set(group, who);
          }
        }
      }
      const total = [...published.values()].reduce((sum, count) => sum + count, 0);
      const done = [...acked.values()].reduce((sum, count) => sum + count, 0);
      expect(rig.queue.counts.ready + rig.queue.counts.unacked).toBe(total - done);
    }),
  );
});

test('groups that have left memory, and a restart, keep their order', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.openCold(disk, { segmentBytes: 64 * 1024 });
  const queue = core.declare('q', { 'x-message-groups': true }) as LocalQueue;
  for (let i = 0; i < 600; i++) {
    const group = 'abc'[i % 3]!;
    core.send('q', `${group}${i}`, { properties: { groupId: group } });
  }
  await core.durable();
  queue.page({ store: core.journal.cold, sliceEntries: 8192, failed: () => expect.fail() }, 16);
  expect(queue.memoryEntries).toBe(16);
  const again = await JournaledBroker.openCold(SimulatedDisk.holding(disk.contents()), {
    segmentBytes: 64 * 1024,
  });
  for (const { vhost, client, clock } of [core, again]) {
    const same = vhost.queues.get('q')!;
    const consumers = [new TestConsumer(client, { credit: 7 }), new TestConsumer(client, { credit: 5 })];
    for (const consumer of consumers) same.attach(consumer);
    const acked: string[] = [];
    for (let round = 0; round < 2000 && same.counts.ready + same.counts.unacked > 0; round++) {
      for (const consumer of consumers) {
        for (const entry of consumer.entries.filter(({ state }) => state === 'unacked')) {
          acked.push(entry.message.body.toString());
          entry.ack();
          consumer.grant(1, same);
        }
      }
      clock.advance(1);
      await new Promise(setImmediate);
    }
    expect(acked).toHaveLength(600);
    for (const group of 'abc') {
      const numbers = acked.filter((body) => body[0] === group).map((body) => Number(body.slice(1)));
      expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    }
  }
});
