import { describe, expect, test } from 'vitest';
import type { ExchangeType } from '../../../src/core/exchange/exchange.ts';
import { noHeaders } from '../../../src/core/properties.ts';
import { Core, createClient, createMessage, TestConsumer } from '../../support/core.ts';

function declareQueue(
  { vhost, client }: Pick<Core, 'vhost' | 'client'>,
  name: string,
  options: { durable?: boolean; autoDelete?: boolean } = {},
) {
  return vhost.declareQueue(client, {
    name,
    durable: options.durable ?? true,
    autoDelete: options.autoDelete ?? false,
    exclusiveTo: null,
    arguments: noHeaders,
  });
}

function declareExchange(
  { vhost, client }: Pick<Core, 'vhost' | 'client'>,
  name: string,
  type: ExchangeType,
  args = noHeaders,
) {
  const spec = { name, type, durable: true, autoDelete: false, internal: false, arguments: args };
  return vhost.declareExchange(client, spec);
}

function publish({ vhost }: Core, exchange: string, key: string, body = 'x') {
  return vhost.publish(vhost.routeFor(exchange, key), createMessage(body, { exchange, key }), null, 0);
}

describe('routing', () => {
  test('the default exchange leads to the queue of the name', () => {
    const core = new Core();
    const queue = declareQueue(core, 'orders');
    expect(publish(core, '', 'orders')).toBe('routed');
    expect(publish(core, '', 'others')).toBe('unroutable');
    expect(queue.counts.ready).toBe(1);
  });

  test('a queue bound twice gets a message once', () => {
    const core = new Core();
    const queue = declareQueue(core, 'q');
    core.vhost.bind(core.client, 'amq.topic', queue, 'a.*', noHeaders);
    core.vhost.bind(core.client, 'amq.topic', queue, 'a.#', noHeaders);
    publish(core, 'amq.topic', 'a.b');
    expect(queue.counts.ready).toBe(1);
  });

  test('a route that was memoised is made anew when a binding comes or goes', () => {
    const core = new Core();
    const queue = declareQueue(core, 'q');
    expect(publish(core, 'amq.direct', 'k')).toBe('unroutable');
    const route = core.vhost.routeFor('amq.direct', 'k');
    core.vhost.bind(core.client, 'amq.direct', queue, 'k', noHeaders);
    expect(core.vhost.current(route)).toBe(false);
    expect(publish(core, 'amq.direct', 'k')).toBe('routed');
    core.vhost.unbind(core.client, 'amq.direct', queue, 'k', noHeaders);
    expect(publish(core, 'amq.direct', 'k')).toBe('unroutable');
  });

  test('exchanges bound to exchanges are followed, in circles too', () => {
    const core = new Core();
    const [a, b] = [declareExchange(core, 'a', 'fanout'), declareExchange(core, 'b', 'direct')];
    const queue = declareQueue(core, 'q');
    core.vhost.bind(core.client, 'a', b, 'k', noHeaders);
    core.vhost.bind(core.client, 'b', a, 'k', noHeaders);
    core.vhost.bind(core.client, 'b', queue, 'k', noHeaders);
    expect(publish(core, 'a', 'k')).toBe('routed');
    expect(queue.counts.ready).toBe(1);
  });

  test('what an exchange cannot route goes to its alternate exchange', () => {
    const core = new Core();
    const queue = declareQueue(core, 'lost');
    declareExchange(core, 'main', 'direct', new Map([['alternate-exchange', 'amq.fanout']]));
    core.vhost.bind(core.client, 'amq.fanout', queue, '', noHeaders);
    expect(publish(core, 'main', 'nobody')).toBe('routed');
  });
});

describe('declaring', () => {
  test('the same again is the same queue; with another property it is refused in RabbitMQ’s words', () => {
    const core = new Core();
    const queue = declareQueue(core, 'orders');
    expect(declareQueue(core, 'orders')).toBe(queue);
    expect(() => declareQueue(core, 'orders', { durable: false })).toThrow(
      "inequivalent arg 'durable' for queue 'orders' in vhost '/': received 'false' but current is 'true'",
    );
  });

  test('a queue of another connection is locked, and goes with it', () => {
    const { vhost, client } = new Core();
    const spec = { name: 'own', durable: false, autoDelete: false, exclusiveTo: client, arguments: noHeaders };
    vhost.declareQueue(client, spec);
    expect(() => vhost.getQueue('own', createClient(vhost))).toThrow(/exclusive access to locked queue 'own'/);
    vhost.clientGone(client);
    expect(vhost.queues.has('own')).toBe(false);
  });

  test('an auto-delete queue goes with its last consumer, not before the first', () => {
    const core = new Core();
    const queue = declareQueue(core, 'q', { autoDelete: true });
    const consumer = new TestConsumer(core.client);
    expect(core.vhost.queues.has('q')).toBe(true);
    queue.attach(consumer);
    queue.detach(consumer);
    expect(core.vhost.queues.has('q')).toBe(false);
  });

  test('deleting a queue tells its consumers and removes its bindings', () => {
    const core = new Core();
    const queue = declareQueue(core, 'q');
    const consumer = new TestConsumer(core.client);
    queue.attach(consumer);
    core.vhost.bind(core.client, 'amq.fanout', queue, '', noHeaders);
    core.vhost.deleteQueue(core.client, 'q', false, false);
    expect(consumer.cancelledWith).toBe('resource-deleted');
    expect(core.vhost.getExchange('amq.fanout').bindings.size).toBe(0);
  });

  test('names that begin with amq. are the broker’s', () => {
    const core = new Core();
    expect(() => declareQueue(core, 'amq.mine')).toThrow(/reserved prefix/);
    expect(() => core.vhost.deleteExchange(core.client, 'amq.topic', false)).toThrow(/system exchange/);
  });

  test('a permission that is missing is named, and nothing is changed', () => {
    const core = new Core();
    const stranger = createClient(core.vhost, { allows: () => false });
    expect(() => declareQueue({ vhost: core.vhost, client: stranger }, 'q')).toThrow(
      "configure access to queue 'q' in vhost '/' refused for user 'guest'",
    );
    expect(core.vhost.queues.has('q')).toBe(false);
  });
});
