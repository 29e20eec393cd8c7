import type { Access, Authenticator } from '../../src/core/auth.ts';
import { Broker, type BrokerParts } from '../../src/core/broker.ts';
import type { Client } from '../../src/core/client.ts';
import { type MessageFormat, register } from '../../src/core/format.ts';
import { Message, noDeaths } from '../../src/core/message.ts';
import type { Properties, Value } from '../../src/core/properties.ts';
import type { QueueEntry } from '../../src/core/queue/entry.ts';
import type { Consumer, Queue } from '../../src/core/queue/queue.ts';
import type { PublishResult, Vhost } from '../../src/core/vhost.ts';
import type { Clock } from '../../src/lib/clock.ts';
import { silent } from '../../src/lib/log.ts';
import { Timers } from '../../src/lib/timers.ts';
import { amqp091Format } from '../../src/protocols/amqp091/message.ts';
import { encodeProperties } from '../../src/protocols/amqp091/properties.ts';
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

/** The core alone, on a clock that the test moves. */
export class Core {
  readonly clock = new ManualClock();
  readonly broker: Broker;
  readonly vhost: Vhost;
  readonly client: Client;

  constructor(parts: Partial<BrokerParts> = {}) {
    const { clock } = this;
    this.broker = new Broker({
      journal: new MemoryJournal(),
      clock,
      timers: clock.timers,
      log: silent,
      createToken: () => `token-${++tokens}`,
      authenticator: openDoor,
      ...parts,
    });
    this.vhost = this.broker.addVhost('/');
    this.client = createClient(this.vhost);
  }

  declare(name: string, args: Readonly<Record<string, Value>> = {}, durable = false): Queue {
    return this.vhost.declareQueue(this.client, {
      name,
      durable,
      autoDelete: false,
      exclusiveTo: null,
      arguments: new Map(Object.entries(args)),
    });
  }

  publish(exchange: string, key: string, body: string, properties: Partial<Properties> = {}): PublishResult {
    const expiresAtMs = properties.ttlMs === undefined ? 0 : this.clock.nowMs + properties.ttlMs;
    const message = createMessage(body, { exchange, key, properties, expiresAtMs, publisher: this.client });
    return this.vhost.publish(this.vhost.routeFor(exchange, key), message, null, 0);
  }
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
    describe: () => ({
      protocol: 'AMQP 0-9-1',
      local: '127.0.0.1:2',
      tls: null,
      mechanism: 'PLAIN',
      state: 'running',
      channelMax: 0,
      frameMax: 0,
      heartbeatSeconds: 0,
      bytesIn: 0,
      bytesOut: 0,
      reads: 0,
      writes: 0,
      properties: new Map(),
    }),
    describeChannels: () => [],
  };
}

export interface MessageOptions {
  readonly exchange?: string;
  readonly key?: string;
  readonly durable?: boolean;
  readonly priority?: number;
  readonly expiresAtMs?: number;
  readonly publisher?: Client;
  readonly properties?: Partial<Properties>;
}

/** Without properties it is of the plain format; with, of AMQP 0-9-1's. */
export function createMessage(body: string, options: MessageOptions = {}): Message {
  const { properties } = options;
  const format = properties === undefined ? plainFormat : amqp091Format;
  const native =
    properties === undefined ? Buffer.alloc(0) : encodeProperties({ headers: new Map(), ...properties }, null as never);
  const bytes = Buffer.concat([native, Buffer.from(body)]);
  return new Message({
    format,
    exchange: options.exchange ?? '',
    routingKey: options.key ?? '',
    durable: options.durable ?? false,
    priority: options.priority ?? properties?.priority ?? -1,
    expiresAtMs: options.expiresAtMs ?? 0,
    qos: -1,
    retain: false,
    publisher: options.publisher ?? null,
    deaths: noDeaths,
    bytes,
    start: 0,
    end: bytes.length,
    nativeStart: 0,
    nativeEnd: native.length,
    bodyStart: native.length,
    bodyEnd: bytes.length,
  });
}

export function int(value: number): Value {
  return { type: 'int', value };
}

/** Takes all that is ready, and its bodies. */
export function drain(queue: Queue): string[] {
  const bodies: string[] = [];
  for (let entry = queue.get() as QueueEntry | undefined; entry !== undefined; entry = queue.get() as typeof entry) {
    bodies.push(entry.message.body.toString());
    entry.ack();
  }
  return bodies;
}

/** Remembers what it is given; `credit` deliveries at most. */
export class TestConsumer implements Consumer {
  readonly entries: QueueEntry[] = [];
  readonly bodies: string[] = [];
  readonly client: Client;
  readonly tag = 'test';
  readonly channel = 1;
  readonly prefetch = 0;
  readonly arguments = new Map();
  readonly settles: boolean;
  readonly priority: number;
  readonly exclusive: boolean;
  readonly selector: ((message: Message) => boolean) | null;
  credit: number;
  cancelledWith: string | null = null;

  constructor(
    client: Client,
    options: {
      credit?: number;
      settles?: boolean;
      priority?: number;
      exclusive?: boolean;
      selector?: (message: Message) => boolean;
    } = {},
  ) {
    this.client = client;
    this.credit = options.credit ?? Number.POSITIVE_INFINITY;
    this.settles = options.settles ?? false;
    this.priority = options.priority ?? 0;
    this.exclusive = options.exclusive ?? false;
    this.selector = options.selector ?? null;
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
