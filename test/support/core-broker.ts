import type { Client } from '../../src/core/client.ts';
import { Message, type MessageFacts, noDeaths } from '../../src/core/message.ts';
import type { Properties, Value } from '../../src/core/properties.ts';
import type { QueueEntry } from '../../src/core/queue/entry.ts';
import type { Queue } from '../../src/core/queue/queue.ts';
import type { Vhost } from '../../src/core/vhost.ts';
import { amqp091Format } from '../../src/protocols/amqp091/message.ts';
import { createCore, type ManualClock } from './core.ts';

/** The core alone, with messages that have properties, on a clock that the test moves. */
export class CoreBroker {
  readonly clock: ManualClock;
  readonly vhost: Vhost;
  readonly client: Client;

  constructor() {
    const core = createCore();
    this.clock = core.clock;
    this.vhost = core.vhost;
    this.client = core.client;
  }

  /** Moves the clock and runs what is due. */
  pass(ms: number): void {
    this.clock.advance(ms);
  }

  declare(name: string, args: Record<string, Value> = {}, durable = false): Queue {
    return this.vhost.declareQueue(this.client, {
      name,
      durable,
      autoDelete: false,
      exclusiveTo: null,
      arguments: new Map(Object.entries(args)),
    });
  }

  message(body: string, properties: Partial<Properties> = {}, facts: Partial<MessageFacts> = {}): Message {
    const native = amqp091Format.encode({ headers: new Map(), ...properties }, null as never);
    const bytes = Buffer.concat([native, Buffer.from(body)]);
    return new Message({
      format: amqp091Format,
      exchange: '',
      routingKey: '',
      durable: false,
      priority: properties.priority ?? -1,
      expiresAtMs: properties.ttlMs === undefined ? 0 : this.clock.nowMs + properties.ttlMs,
      qos: -1,
      retain: false,
      publisher: this.client,
      deaths: noDeaths,
      bytes,
      start: 0,
      end: bytes.length,
      nativeStart: 0,
      nativeEnd: native.length,
      bodyStart: native.length,
      bodyEnd: bytes.length,
      ...facts,
    });
  }

  publish(exchange: string, routingKey: string, body: string, properties: Partial<Properties> = {}): string {
    const message = this.message(body, properties, { exchange, routingKey });
    return this.vhost.publish(this.vhost.routeFor(exchange, routingKey), message, null, 0);
  }
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
