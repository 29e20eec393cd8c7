import { afterAll, afterEach, beforeAll } from 'vitest';
import type { Value } from '../../src/core/properties.ts';
import { AmqpPeer } from './amqp-peer.ts';
import { BrokerProcess } from './broker-process.ts';
import { type Name, openers, type QueueScript } from './queue-scripts.ts';

/** A broker for all tests of a file, with queues of their own, and connections that end with their test. */
export class QueueHouse {
  private started: BrokerProcess | null = null;
  private opened: { close(): void }[] = [];
  private queues = 0;

  private constructor() {}

  /** Called at the top of a file: the broker starts before its first test. */
  static open(): QueueHouse {
    const house = new QueueHouse();
    beforeAll(async () => {
      house.started = await BrokerProcess.start();
    });
    afterEach(() => {
      for (const each of house.opened) each.close();
      house.opened = [];
    });
    afterAll(() => house.started?.remove());
    return house;
  }

  get broker(): BrokerProcess {
    if (this.started === null) throw new Error('the broker is not there before the first test');
    return this.started;
  }

  /** It is closed with the test. */
  keep<T extends { close(): void }>(script: T): T {
    this.opened.push(script);
    return script;
  }

  /** One connection of the protocol to the queue. */
  async script(name: Name, queue: string): Promise<QueueScript> {
    return this.keep(await openers[name](this.broker, queue));
  }

  async amqp(): Promise<AmqpPeer> {
    const peer = await AmqpPeer.openChannel(this.broker.port('amqp'));
    this.keep({ close: () => peer.destroy() });
    return peer;
  }

  /** A durable queue. @returns its name, nobody else's */
  async declare(args: Readonly<Record<string, Value>> = {}): Promise<string> {
    const queue = `queue-${++this.queues}`;
    await (await this.amqp()).declare(queue, { durable: true, arguments: new Map(Object.entries(args)) });
    return queue;
  }
}
