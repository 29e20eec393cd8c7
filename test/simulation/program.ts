import type { Properties, Value } from '../../src/core/properties.ts';
import type { QueueEntry } from '../../src/core/queue/entry.ts';
import type { LocalQueue } from '../../src/core/queue/local-queue.ts';
import { createMessage, TestConsumer } from '../support/core.ts';
import { JournaledBroker, noPaging } from '../support/journaled.ts';
import { Random } from '../support/random.ts';
import { SimulatedDisk } from '../support/simulated-disk.ts';
import { type Held, Model, type Published, type QueueShape } from './model.ts';

const names = ['a', 'b', 'c', 'd'] as const;

/** A delivery in both worlds. */
interface Delivery {
  readonly entry: QueueEntry;
  readonly held: Held;
}

/** What the two worlds disagree about. */
class Difference extends Error {}

/** One random program, run by a broker on a simulated disk and by the model. */
class Program {
  private readonly random: Random;
  private readonly model = new Model();
  private readonly deliveries: Delivery[] = [];
  private readonly segmentBytes: number;
  private readonly paging: typeof noPaging;
  /** All messages of a program live equally long, so that the oldest is the first to expire. */
  private readonly expirationMs: number;
  private disk = new SimulatedDisk();
  private core!: JournaledBroker;
  private next = 0;
  private readonly log: string[] = [];

  constructor(seed: number) {
    this.random = new Random(seed);
    this.segmentBytes = this.random.pick([1024, 4096, 65_536]);
    this.paging = this.random.chance(0.7) ? { ...noPaging, queueBytes: this.random.pick([1, 4000, 20_000]) } : noPaging;
    this.expirationMs = this.random.pick([0, 0, 700]);
  }

  /** @throws Difference */
  async run(steps: number): Promise<void> {
    await this.open();
    for (const name of names) this.declareQueue(name);
    for (let step = 0; step < steps; step++) {
      await this.step();
      await this.rest();
      this.compareCounts();
    }
    for (const [name] of this.model.queues) await this.take(name, 10_000);
    await this.core.journal.close();
  }

  get story(): string {
    return this.log.join('\n');
  }

  private async step(): Promise<void> {
    const { random } = this;
    const name = random.pick([...this.model.queues.keys(), 'a']);
    const known = this.model.queues.has(name);
    switch (random.below(16)) {
      case 0:
        return this.declareQueue(random.pick(names));
      case 1:
        return known && random.chance(0.3) ? this.delete(name) : this.bind(name);
      case 2:
      case 3:
      case 4:
      case 5:
        return this.publish(name, 1 + random.below(40));
      case 6:
      case 7:
        return known ? this.take(name, 1 + random.below(12)) : undefined;
      case 8:
        return known ? this.consume(name, 1 + random.below(30), random.chance(0.3)) : undefined;
      case 9:
      case 10:
      case 11:
        return this.settle(1 + random.below(20));
      case 12:
        return known && random.chance(0.3) ? this.purge(name) : undefined;
      case 13:
        return this.advance(random.pick([0, 100, 400, 1000]));
      case 14:
        this.log.push('page');
        return this.core.broker.pager!.look();
      default:
        return random.chance(0.4) ? this.crash() : this.advance(100);
    }
  }

  private declareQueue(name: string): void {
    if (this.model.queues.has(name)) return;
    const { random } = this;
    const hasPriorities = random.chance(0.2);
    const shape: QueueShape = {
      durable: random.chance(0.8),
      ttlMs: random.chance(0.2) ? 500 : 0,
      maxLength: random.chance(0.2) ? 5 + random.below(60) : Number.POSITIVE_INFINITY,
      refuses: random.chance(0.3),
      maxPriority: hasPriorities ? 3 : 0,
      deadTo: !hasPriorities && random.chance(0.4) ? `dead-${name}` : '',
    };
    this.log.push(`declare ${name} ${JSON.stringify(shape)}`);
    if (shape.deadTo !== '') this.declareShape(shape.deadTo, plainShape);
    this.declareShape(name, shape);
  }

  private declareShape(name: string, shape: QueueShape): void {
    const args = new Map<string, Value>();
    const set = (key: string, value: number): void => void args.set(key, { type: 'int', value });
    if (shape.ttlMs > 0) set('x-message-ttl', shape.ttlMs);
    if (Number.isFinite(shape.maxLength)) set('x-max-length', shape.maxLength);
    if (shape.refuses) args.set('x-overflow', 'reject-publish');
    if (shape.maxPriority > 0) set('x-max-priority', shape.maxPriority);
    if (shape.deadTo !== '') {
      args.set('x-dead-letter-exchange', '');
      args.set('x-dead-letter-routing-key', shape.deadTo);
    }
    if (!this.model.queues.has(name)) {
      const { vhost, client } = this.core;
      const { durable } = shape;
      vhost.declareQueue(client, { name, durable, autoDelete: false, exclusiveTo: null, arguments: args });
    }
    this.model.declare(name, shape);
  }

  private bind(name: string): void {
    if (!this.model.queues.has(name) || name.startsWith('dead')) return;
    this.log.push(`bind ${name}`);
    const { vhost, client } = this.core;
    vhost.bind(client, 'amq.fanout', vhost.getQueue(name, client), '', new Map());
    this.model.bound.add(name);
  }

  private delete(name: string): void {
    this.log.push(`delete ${name}`);
    this.core.vhost.deleteQueue(this.core.client, name, false, false);
    this.model.delete(name);
  }

  private publish(name: string, count: number): void {
    const { random } = this;
    const exchange = !name.startsWith('dead') && random.chance(0.3) ? 'amq.fanout' : '';
    const body = 'x'.repeat(random.pick([1, 10, 300]));
    this.log.push(`publish ${exchange} ${name} ${count} from ${this.next}`);
    for (let i = 0; i < count; i++) {
      const message: Published = {
        body: `${this.next++}${body}`,
        durable: random.chance(0.7),
        priority: random.below(5),
        expirationMs: name.startsWith('dead') ? 0 : this.expirationMs,
      };
      const { vhost, clock } = this.core;
      const options: Partial<Properties> & { durable: boolean } = { durable: message.durable };
      const real = createMessage(message.body, {
        ...options,
        exchange,
        key: name,
        priority: message.priority,
        expiresAtMs: message.expirationMs === 0 ? 0 : clock.nowMs + message.expirationMs,
      });
      vhost.publish(vhost.routeFor(exchange, name), real, null, 0);
      this.model.publish(exchange === '' ? [name] : this.model.bound, message);
    }
  }

  private async take(name: string, count: number): Promise<void> {
    this.log.push(`get ${name} ${count}`);
    for (let i = 0; i < count; i++) {
      const getting = this.queue(name).get();
      await this.rest();
      const entry = await getting;
      const [held] = this.model.take(name, 1);
      this.same(`get ${name}`, entry?.message.body.toString(), held?.message.body);
      if (entry === undefined || held === undefined) return;
      this.deliveries.push({ entry, held });
    }
  }

  private async consume(name: string, credit: number, selects: boolean): Promise<void> {
    this.log.push(`consume ${name} ${credit} ${selects ? 'selecting' : ''}`);
    const consumer = new TestConsumer(this.core.client, { credit });
    const wanted = (body: string): boolean => !selects || /^\d*[05]x/.test(body);
    if (selects) Object.assign(consumer, { selector: (message: QueueEntry['message']) => wanted(`${message.body}`) });
    this.queue(name).attach(consumer);
    await this.rest();
    this.queue(name).detach(consumer);
    const held = this.model.take(name, credit, wanted);
    this.same(
      `consume ${name}`,
      consumer.bodies,
      held.map(({ message }) => message.body),
    );
    for (const [i, entry] of consumer.entries.entries()) this.deliveries.push({ entry, held: held[i]! });
  }

  private settle(count: number): void {
    for (let i = 0; i < count && this.deliveries.length > 0; i++) {
      const how = this.random.pick(['ack', 'ack', 'requeue', 'reject'] as const);
      const [delivery] = this.deliveries.splice(this.random.below(this.deliveries.length), 1);
      const { entry, held } = delivery!;
      this.log.push(`${how} ${held.queue.name} ${held.message.body.slice(0, 8)}`);
      entry[how]();
      this.model.settle(held, how);
    }
  }

  private purge(name: string): void {
    this.log.push(`purge ${name}`);
    this.same(`purge ${name}`, this.queue(name).purge(), this.model.queues.get(name)!.ready.length);
    this.model.purge(name);
  }

  private advance(ms: number): void {
    this.log.push(`advance ${ms}`);
    this.core.clock.advance(ms);
    this.model.advance(ms);
  }

  private async crash(): Promise<void> {
    this.log.push('crash');
    await this.core.durable();
    this.disk = this.disk.crash(this.random);
    this.deliveries.length = 0;
    this.model.crash();
    await this.open();
  }

  private async open(): Promise<void> {
    const { segmentBytes, paging } = this;
    this.core = await JournaledBroker.openCold(this.disk, { segmentBytes, paging, sinceMs: this.model.nowMs });
  }

  /** Until the disk has nothing more to do. */
  private async rest(): Promise<void> {
    const { journal, clock } = this.core;
    for (let quiet = 0; quiet < 4; ) {
      await new Promise((resolve) => setImmediate(resolve));
      clock.advance(0); // what is to be done next
      quiet = this.disk.pending === 0 && journal.durable === journal.position ? quiet + 1 : 0;
    }
  }

  private compareCounts(): void {
    for (const [name, { ready }] of this.model.queues) {
      this.same(`ready in ${name}`, this.queue(name).counts.ready, ready.length);
      const bytes = ready.reduce((sum, { message }) => sum + message.body.length, 0);
      this.same(`octets in ${name}`, this.queue(name).readyBytes, bytes);
    }
  }

  private queue(name: string): LocalQueue {
    return this.core.vhost.queues.get(name)!;
  }

  private same(what: string, found: unknown, expected: unknown): void {
    const [a, b] = [JSON.stringify(found), JSON.stringify(expected)];
    if (a !== b) throw new Difference(`${what}: the broker has ${a}, the model ${b}`);
  }
}

const plainShape: QueueShape = {
  durable: true,
  ttlMs: 0,
  maxLength: Number.POSITIVE_INFINITY,
  refuses: false,
  maxPriority: 0,
  deadTo: '',
};

/** @returns what the worlds disagreed about, with the story of how it came; null when they never did */
export async function runProgram(seed: number, steps: number): Promise<string | null> {
  const program = new Program(seed);
  try {
    await program.run(steps);
    return null;
  } catch (error) {
    return `seed ${seed}: ${(error as Error).stack}\n${program.story}`;
  }
}
