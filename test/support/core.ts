import type { Access, Authenticator } from '../../src/core/auth.ts';
import { Broker } from '../../src/core/broker.ts';
import type { Client } from '../../src/core/client.ts';
import { type MessageFormat, register } from '../../src/core/format.ts';
import { Message, noDeaths } from '../../src/core/message.ts';
import type { QueueEntry } from '../../src/core/queue/entry.ts';
import type { Consumer, Queue } from '../../src/core/queue/queue.ts';
import type { Vhost } from '../../src/core/vhost.ts';
import type { Clock } from '../../src/lib/clock.ts';
import { silent } from '../../src/lib/log.ts';
import { Timers } from '../../src/lib/timers.ts';
import { MemoryJournal } from '../../src/storage/memory.ts';

/** Time that stands until a test moves it. */
export class ManualClock implements Clock {
  nowMs = 1_700_000_000_000;
  readonly timers = new Timers(this, true);

  refresh(): void {}

  /** Moves the clock, stopping at each timer on the way. */
  advance(ms: number): void {
    const end = this.nowMs + ms;
    while (this.timers.nextDueMs <= end) {
      this.nowMs = Math.max(this.nowMs, this.timers.nextDueMs);
      this.timers.runDue();
    }
    this.nowMs = end;
  }
}

/** A format whose native octets are nothing: for messages that only queues look at. */
export const plainFormat: MessageFormat = register({
  name: 'plain',
  id: 255,
  decode: () => ({ headers: new Map() }),
  encode: () => Buffer.alloc(0),
});

let tokens = 0;

export interface Core {
  readonly clock: ManualClock;
  readonly broker: Broker;
  readonly vhost: Vhost;
  readonly client: Client;
}

export function createCore(): Core {
  const clock = new ManualClock();
  const broker = new Broker({
    journal: new MemoryJournal(),
    clock,
    timers: clock.timers,
    log: silent,
    createToken: () => `token-${++tokens}`,
    authenticator: openDoor,
  });
  const vhost = broker.addVhost('/');
  return { clock, broker, vhost, client: createClient(vhost) };
}

export const everything: Access = { allows: () => true };

/** Lets everybody in as guest. */
export const openDoor: Authenticator = {
  authenticate: async () => 'guest',
  findAccess: () => everything,
  findScram: () => ({
    salt: Buffer.alloc(16),
    iterations: 4096,
    storedKey: Buffer.alloc(32),
    serverKey: Buffer.alloc(32),
  }),
  admits: () => true,
  noteProof() {},
};

export function createClient(vhost: Vhost, access: Access = everything): Client {
  return {
    id: 'test',
    protocol: 'test',
    user: 'guest',
    vhost,
    access,
    subscriber: {},
    peer: '127.0.0.1:1',
    connectedAtMs: 0,
    close() {},
  };
}

export interface MessageOptions {
  readonly exchange?: string;
  readonly key?: string;
  readonly durable?: boolean;
  readonly priority?: number;
  readonly expiresAtMs?: number;
  readonly publisher?: Client;
}

export function createMessage(body: string, options: MessageOptions = {}): Message {
  const bytes = Buffer.from(body);
  return new Message({
    format: plainFormat,
    exchange: options.exchange ?? '',
    routingKey: options.key ?? '',
    durable: options.durable ?? false,
    priority: options.priority ?? -1,
    expiresAtMs: options.expiresAtMs ?? 0,
    qos: -1,
    retain: false,
    publisher: options.publisher ?? null,
    deaths: noDeaths,
    bytes,
    start: 0,
    end: bytes.length,
    nativeStart: 0,
    nativeEnd: 0,
    bodyStart: 0,
    bodyEnd: bytes.length,
  });
}

/** Remembers what it is given; `credit` deliveries at most. */
export class TestConsumer implements Consumer {
  readonly entries: QueueEntry[] = [];
  readonly bodies: string[] = [];
  readonly client: Client;
  readonly tag = 'test';
  readonly settles: boolean;
  readonly priority: number;
  readonly exclusive: boolean;
  credit: number;
  cancelledWith: string | null = null;

  constructor(
    client: Client,
    options: { credit?: number; settles?: boolean; priority?: number; exclusive?: boolean } = {},
  ) {
    this.client = client;
    this.credit = options.credit ?? Number.POSITIVE_INFINITY;
    this.settles = options.settles ?? false;
    this.priority = options.priority ?? 0;
    this.exclusive = options.exclusive ?? false;
  }

  get ready(): boolean {
    return this.credit > 0;
  }

  deliver(entry: QueueEntry): void {
    this.credit -= 1;
    this.entries.push(entry);
    this.bodies.push(entry.message.body.toString());
  }

  cancelled(why: string): void {
    this.cancelledWith = why;
  }

  grant(credit: number, queue: Queue): void {
    this.credit += credit;
    queue.wake();
  }
}
