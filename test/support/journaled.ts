import { Broker } from '../../src/core/broker.ts';
import type { Client } from '../../src/core/client.ts';
import type { PublishReceipt } from '../../src/core/journal.ts';
import type { Value } from '../../src/core/properties.ts';
import type { QueueEntry } from '../../src/core/queue/entry.ts';
import type { PagingLimits } from '../../src/core/queue/pager.ts';
import type { Queue } from '../../src/core/queue/queue.ts';
import type { Vhost } from '../../src/core/vhost.ts';
import { silent } from '../../src/lib/log.ts';
import type { Disk } from '../../src/storage/disk.ts';
import { type Durability, SegmentJournal } from '../../src/storage/journal.ts';
import { createClient, createMessage, ManualClock, type MessageOptions, openDoor } from './core.ts';

/** Nothing leaves memory. */
export const noPaging: PagingLimits = {
  queueBytes: Number.POSITIVE_INFINITY,
  bodyBytes: Number.POSITIVE_INFINITY,
  heapBytes: Number.POSITIVE_INFINITY,
};

interface JournaledOptions {
  readonly segmentBytes: number;
  readonly paging?: PagingLimits;
  readonly durability?: Durability;
  /** Milliseconds by which the clock is later than that of tests begins. */
  readonly sinceMs?: number;
}

/** A broker without protocols, on a journal: what is published and settled here must be found again. */
export class JournaledBroker {
  readonly journal: SegmentJournal;
  readonly broker: Broker;
  readonly vhost: Vhost;
  readonly client: Client;
  readonly clock: ManualClock;

  private constructor(journal: SegmentJournal, broker: Broker, clock: ManualClock) {
    this.journal = journal;
    this.broker = broker;
    this.clock = clock;
    this.vhost = broker.addVhost('/');
    this.client = createClient(this.vhost);
  }

  /**
   * With what was kept read back: tests look at it without waiting.
   * @throws JournalDamage
   */
  static async open(disk: Disk, segmentBytes = 64 * 1024): Promise<JournaledBroker> {
    const core = await JournaledBroker.openCold(disk, { segmentBytes });
    for (const queue of core.vhost.queues.values()) (await queue.get())?.release();
    return core;
  }

  /** As a broker starts: what was kept is read back when it is asked for. */
  static async openCold(disk: Disk, options: JournaledOptions): Promise<JournaledBroker> {
    const { segmentBytes } = options;
    const clock = new ManualClock();
    clock.nowMs += options.sinceMs ?? 0;
    const { journal, recovered } = await SegmentJournal.open(disk, {
      segmentBytes,
      log: silent,
      clock,
      timers: clock.timers,
      durability: options.durability ?? { mode: 'sync', intervalMs: 0 },
    });
    const broker = new Broker({
      journal,
      clock,
      timers: clock.timers,
      log: silent,
      createToken: () => 'token',
      authenticator: openDoor,
      paging: { store: journal.cold, limits: options.paging ?? noPaging },
    });
    broker.restore(recovered);
    return new JournaledBroker(journal, broker, clock);
  }

  declare(name: string, args: Readonly<Record<string, Value>> = {}): Queue {
    return this.vhost.declareQueue(this.client, {
      name,
      durable: true,
      autoDelete: false,
      exclusiveTo: null,
      arguments: new Map(Object.entries(args)),
    });
  }

  /** Into the queue `name`, through the default exchange unless another is given. */
  publish(name: string, body: string, receipt: PublishReceipt | null = null, exchange = ''): void {
    this.send(name, body, { exchange }, receipt);
  }

  /** Into the queue `name`, with more that a publisher may say. */
  send(name: string, body: string, options: MessageOptions, receipt: PublishReceipt | null = null): void {
    const route = this.vhost.routeFor(options.exchange ?? '', name);
    this.vhost.publish(route, createMessage(body, { durable: true, key: name, ...options }), receipt, 0);
  }

  /** Takes the first ready entry. */
  get(name: string): QueueEntry | undefined {
    const entry = this.vhost.queues.get(name)?.get();
    if (entry instanceof Promise) throw new Error(`the head of '${name}' is not in memory`);
    return entry;
  }

  /** The bodies of what is ready, in order; they are taken and not settled. */
  bodies(name: string): string[] {
    const bodies: string[] = [];
    for (let entry = this.get(name); entry !== undefined; entry = this.get(name)) {
      bodies.push(entry.message.body.toString());
    }
    return bodies;
  }

  /** Resolves when everything so far is on the disk. */
  durable(): Promise<void> {
    return new Promise((resolve) => this.journal.whenDurable(this.journal.position, resolve));
  }
}
