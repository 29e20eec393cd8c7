import type { QueueEntry } from '../../src/core/queue/entry.ts';
import type { LocalQueue } from '../../src/core/queue/local-queue.ts';
import { TestConsumer } from '../support/core.ts';
import { JournaledBroker, noPaging } from '../support/journaled.ts';
import { Random } from '../support/random.ts';
import { type Operation, SimulatedDisk } from '../support/simulated-disk.ts';

/** A number is a message: publishes count up, so that the order of a queue is that of its numbers. */
interface Publish {
  readonly number: number;
  readonly durable: boolean;
  answer: 'confirmed' | 'refused' | null;
  /** Acked, whether or not the disk knows. */
  acked: boolean;
  /** Acked, and the disk knows. */
  settled: boolean;
  /** Published in an earlier life of the broker. */
  before: boolean;
}

const operations: readonly (readonly Operation[])[] = [
  ['read', 'open'],
  ['write'],
  ['create', 'write', 'truncate', 'replace', 'sync', 'remove'],
  ['list', 'read', 'open', 'create', 'write', 'truncate', 'replace', 'sync', 'remove'],
  ['datasync'],
  ['list', 'read', 'open', 'create', 'write', 'datasync', 'truncate', 'replace', 'sync', 'remove'],
];

/**
 * A broker with one queue on a disk of which any operation fails now and then, or does half of its work: what it
 * confirmed is delivered once and in order, over crashes, and goes on when the disk is well again.
 */
class Run {
  private readonly random: Random;
  private readonly segmentBytes: number;
  private readonly queueBytes: number;
  private readonly failing: ReadonlySet<Operation>;
  private readonly rate: number;
  private disk = new SimulatedDisk();
  private core!: JournaledBroker;
  private queue!: LocalQueue;
  private consumer!: TestConsumer;
  private life = 0;
  private seen = 0;
  private readonly publishes: Publish[] = [];
  private out: QueueEntry[] = [];
  /** Delivered in this life and not given back since. */
  private delivered = new Set<number>();
  private returned = new Set<number>();
  private last = -1;
  /** What failed: the operation, and on which kind of file. */
  readonly faults: string[] = [];

  constructor(seed: number) {
    this.random = new Random(seed);
    this.segmentBytes = this.random.pick([1024, 4096, 65_536]);
    this.queueBytes = this.random.pick([1, 2000, 20_000]);
    this.failing = new Set(this.random.pick(operations));
    this.rate = this.random.pick([0.02, 0.1, 0.5]);
    this.disk.preparedBytes = this.random.pick([0, 100, 3000]);
  }

  async run(steps: number): Promise<void> {
    await this.open();
    for (let step = 0; step < steps; step++) {
      this.step();
      await this.turns(1 + this.random.below(6));
      this.look();
      if (this.random.chance(0.04)) await this.crash();
    }
    await this.finish();
    await this.crash();
    await this.finish();
  }

  private step(): void {
    const { random, core } = this;
    switch (random.below(7)) {
      case 0:
      case 1:
      case 2:
        return this.publish(1 + random.below(20));
      case 3:
        this.consumer.credit = random.below(12);
        return this.queue.wake();
      case 4:
        return this.settle(random.below(8));
      case 5:
        return core.broker.pager!.look();
      default:
        return core.clock.advance(random.pick([0, 100, 1000]));
    }
  }

  private publish(count: number): void {
    for (let i = 0; i < count; i++) {
      const durable = this.random.chance(0.7);
      const publish: Publish = {
        number: this.publishes.length,
        durable,
        answer: null,
        acked: false,
        settled: false,
        before: false,
      };
      this.publishes.push(publish);
      const body = String(publish.number).padEnd(this.random.pick([1, 10, 300]), '.');
      const answer = (what: 'confirmed' | 'refused') => (): void => {
        if (!publish.before) publish.answer = what;
      };
      this.core.send('q', body, { durable }, { confirmed: answer('confirmed'), refused: answer('refused') });
    }
  }

  private settle(count: number): void {
    for (let i = 0; i < count && this.out.length > 0; i++) {
      const [entry] = this.out.splice(this.random.below(this.out.length), 1);
      const publish = this.publishOf(entry!);
      if (this.random.chance(0.2)) {
        this.delivered.delete(publish.number);
        this.returned.add(publish.number);
        entry!.requeue();
        continue;
      }
      publish.acked = true;
      entry!.ack();
      const { life } = this;
      const { journal } = this.core;
      journal.whenDurable(journal.position, () => {
        if (this.life === life) publish.settled = true;
      });
    }
  }

  /** What came to the consumer. */
  private look(): void {
    const { entries } = this.consumer;
    for (; this.seen < entries.length; this.seen++) {
      const entry = entries[this.seen]!;
      const publish = this.publishOf(entry);
      const { number } = publish;
      this.demand(!this.delivered.has(number), `${number} was delivered twice`);
      this.demand(!publish.settled, `${number} returned, and was settled`);
      if (!this.returned.delete(number)) {
        this.demand(number > this.last, `${number} was delivered behind ${this.last}`);
        this.last = number;
      }
      this.delivered.add(number);
      this.out.push(entry);
    }
  }

  private async crash(): Promise<void> {
    this.life += 1; // what the dead one still does is nobody's promise
    this.disk = this.random.chance(0.5) ? SimulatedDisk.holding(this.disk.contents()) : this.disk.crash(this.random);
    for (const publish of this.publishes) publish.before = true;
    await this.open();
  }

  private async open(): Promise<void> {
    const { random, disk, failing, rate } = this;
    const isFaulty = random.chance(0.5);
    const fail = (): void => {
      disk.fault = (operation, _count, name) => {
        if (!failing.has(operation) || !random.chance(rate)) return null;
        this.faults.push(`${operation} ${name.replace(/^\d+\./, '')}`.trim());
        return { code: random.pick(['EIO', 'ENOSPC']), short: random.chance(0.5) };
      };
    };
    if (isFaulty) fail();
    const paging = { ...noPaging, queueBytes: this.queueBytes };
    const options = { segmentBytes: this.segmentBytes, paging };
    try {
      this.core = await JournaledBroker.openCold(disk, options);
    } catch (error) {
      if (!/\b(EIO|ENOSPC)\b/.test((error as Error).message)) throw error;
      disk.fault = () => null;
      this.core = await JournaledBroker.openCold(disk, options);
    }
    disk.fault = () => null;
    if (this.core.vhost.queues.get('q') === undefined) {
      this.core.declare('q');
      await this.core.durable();
    }
    fail();
    this.queue = this.core.vhost.queues.get('q')!;
    this.consumer = new TestConsumer(this.core.client, { credit: 0 });
    this.queue.attach(this.consumer);
    this.seen = 0;
    this.out = [];
    this.delivered = new Set();
    this.returned = new Set();
    this.last = -1;
  }

  /** The disk is well again: all that is to come comes, and what is published is taken. */
  private async finish(): Promise<void> {
    this.disk.fault = () => null;
    for (let i = 0; i < 4; i++) {
      this.core.clock.advance(1000);
      await this.turns(20);
    }
    this.consumer.credit = Number.POSITIVE_INFINITY;
    this.queue.wake();
    for (let i = 0; i < 100 && this.queue.counts.ready > 0; i++) {
      this.core.clock.advance(1000);
      await this.turns(20);
    }
    this.look();
    this.demand(this.queue.counts.ready === 0, `${this.queue.counts.ready} are not delivered`);
    for (const publish of this.publishes) {
      const { number, durable, answer, acked, before } = publish;
      if (answer !== 'confirmed' || acked || (before && !durable)) continue;
      this.demand(this.delivered.has(number), `${number} was confirmed and is lost`);
    }
    const isLost = /lost/.test(this.core.journal.failure ?? '');
    const from = this.publishes.length;
    this.publish(3);
    this.core.clock.advance(1000);
    await this.turns(20);
    for (const { number, durable, answer } of this.publishes.slice(from)) {
      if (durable) this.demand(answer === (isLost ? 'refused' : 'confirmed'), `${number} was ${answer} in the end`);
    }
    this.look();
  }

  private publishOf(entry: QueueEntry): Publish {
    return this.publishes[Number.parseInt(entry.message.body.toString(), 10)]!;
  }

  private async turns(count: number): Promise<void> {
    for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
  }

  private demand(holds: boolean, otherwise: string): void {
    if (!holds) throw new Error(otherwise);
  }
}

/** @returns what failed on the disk. @throws Error what went wrong because of it */
export async function runOnFaultyDisk(seed: number): Promise<readonly string[]> {
  const run = new Run(seed);
  await run.run(60);
  return run.faults;
}
