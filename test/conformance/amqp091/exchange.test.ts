import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Properties, Value } from '../../../src/core/properties.ts';
import { encodeProperties } from '../../../src/protocols/amqp091/properties.ts';
import { methods } from '../../../src/protocols/amqp091/spec.ts';
import { AmqpCore } from '../../support/amqp-core.ts';
import type { AmqpPeer } from '../../support/amqp-peer.ts';
import { int } from '../../support/core.ts';

/** The class exchange; titles name the specification's rules. */

let core: AmqpCore;
let peer: AmqpPeer;
beforeEach(async () => {
  core = new AmqpCore();
  peer = await core.openChannel();
});
afterEach(() => peer.destroy());

const args = (entries: Record<string, Value>) => new Map(Object.entries(entries));
const properties = (own: Partial<Properties>) => encodeProperties({ headers: new Map(), ...own }, null as never);

const declare = (values: Record<string, unknown>) =>
  peer.call(1, methods.exchangeDeclare, { exchange: 'x', type: 'direct', ...values }, methods.exchangeDeclareOk);
const bind = (queue: string, exchange: string, routingKey = '', values: Record<string, unknown> = {}) =>
  peer.call(1, methods.queueBind, { queue, exchange, routingKey, ...values }, methods.queueBindOk);
const bindExchange = (destination: string, source: string, routingKey = '') =>
  peer.call(1, methods.exchangeBind, { destination, source, routingKey }, methods.exchangeBindOk);
async function arrived(queue: string): Promise<string[]> {
  const bodies: string[] = [];
  for (let got = await peer.get(queue); got !== null; got = await peer.get(queue)) bodies.push(got.body.toString());
  return bodies;
}
async function refused(values: Record<string, unknown>, method = methods.exchangeDeclare): Promise<string> {
  peer.send(1, method, values);
  const { code, text, classId, methodId } = await peer.closed();
  expect([classId, methodId]).toEqual([method.classId, method.methodId]);
  await peer.openChannel();
  return `${code} ${text}`;
}

describe('the class', () => {
  test.each(['direct', 'fanout', 'topic', 'headers', 'x-consistent-hash'])(
    '[0-9-1 exchange.required-types] [0-9-1 exchange.recommended-types] %s is declared, and routes',
    async (type) => {
      await declare({ type });
      await declare({ type });
      await declare({ type: '', passive: true });
    },
  );

  test.each(['amq.direct', 'amq.fanout', 'amq.topic', 'amq.headers', 'amq.match'])(
    '[0-9-1 exchange.required-instances] %s is there',
    async (exchange) => {
      await bind(await peer.declare(''), exchange);
    },
  );

  test('amq.rabbitmq.trace is there, internal [RabbitMQ: firehose tracer]', async () => {
    await bind(await peer.declare(''), 'amq.rabbitmq.trace', '#');
    const declared = { exchange: 'amq.rabbitmq.trace', type: 'topic', durable: true, internal: true };
    await peer.call(1, methods.exchangeDeclare, declared, methods.exchangeDeclareOk);
    peer.publish(1, { exchange: 'amq.rabbitmq.trace', routingKey: 'k' }, 'm');
    expect((await peer.closed()).code).toBe(403);
  });

  test('[0-9-1 exchange.default-exchange] [0-9-1 basic.publish.exchange.default-exchange] a queue is reached by its name', async () => {
    const queue = await peer.declare('');
    peer.publish(1, { exchange: '', routingKey: queue }, 'm');
    expect(await arrived(queue)).toEqual(['m']);
  });

  test.each([
    ['declared', methods.exchangeDeclare, { exchange: '', type: 'direct' }],
    ['declared passively', methods.exchangeDeclare, { exchange: '', type: 'direct', passive: true }],
    ['deleted', methods.exchangeDelete, { exchange: '' }],
    ['bound to', methods.exchangeBind, { destination: '', source: 'amq.fanout' }],
    ['bound from', methods.exchangeBind, { destination: 'amq.fanout', source: '' }],
    ['unbound from', methods.exchangeUnbind, { destination: 'amq.fanout', source: '' }],
  ] as const)('[0-9-1 exchange.default-access] the default exchange is not %s', async (_what, method, values) => {
    expect(await refused(values, method)).toBe('403 ACCESS_REFUSED - operation not permitted on the default exchange');
  });
});

describe('exchange.declare', () => {
  test('[0-9-1 exchange.declare.minimum] there may be more than sixteen', async () => {
    for (let i = 0; i < 300; i++) await declare({ exchange: `x${i}` });
  });

  test('[0-9-1 exchange.declare.exchange.reserved] names of the broker’s can be asked for, and declared as they are', async () => {
    await declare({ exchange: 'amq.topic', type: 'topic', durable: true });
    await declare({ exchange: 'amq.topic', type: '', passive: true });
    expect(await refused({ exchange: 'amq.new', type: 'topic' })).toBe(
      "403 ACCESS_REFUSED - exchange name 'amq.new' contains reserved prefix 'amq.*'",
    );
  });

  test.each<[string, Record<string, unknown>, string]>([
    ['type', { type: 'fanout' }, "received 'fanout' but current is 'direct'"],
    ['durable', { durable: true }, "received 'true' but current is 'false'"],
    ['auto_delete', { autoDelete: true }, "received 'true' but current is 'false'"],
    ['internal', { internal: true }, "received 'true' but current is 'false'"],
    [
      'alternate-exchange',
      { arguments: args({ 'alternate-exchange': 'other' }) },
      "received the value 'other' of type 'longstr' but current is none",
    ],
  ])(
    '[0-9-1 exchange.declare.passive.equivalent] declared again with another %s: 406',
    async (name, values, difference) => {
      await declare({});
      expect(await refused({ exchange: 'x', type: 'direct', ...values })).toBe(
        `406 PRECONDITION_FAILED - inequivalent arg '${name}' for exchange 'x' in vhost '/': ${difference}`,
      );
    },
  );

  test('arguments that mean nothing may differ', async () => {
    await declare({ arguments: args({ note: 'a' }) });
    await declare({ arguments: args({ note: 'b' }) });
  });

  test('[0-9-1 exchange.declare.passive.not-found] what is not there, passively: 404', async () => {
    expect(await refused({ exchange: 'x', type: 'direct', passive: true })).toBe(
      "404 NOT_FOUND - no exchange 'x' in vhost '/'",
    );
  });

  test('passive: everything but the name is ignored', async () => {
    await declare({});
    await declare({
      type: 'nonsense',
      passive: true,
      durable: true,
      internal: true,
      arguments: args({ 'alternate-exchange': int(1) }),
    });
  });

  test('[0-9-1 exchange.declare.type.support] a type that is not there: 503', async () => {
    peer.send(1, methods.exchangeDeclare, { exchange: 'x', type: 'nonsense' });
    expect(await peer.connectionClosed()).toEqual({
      code: 503,
      text: "COMMAND_INVALID - unknown exchange type 'nonsense'",
      classId: 40,
      methodId: 10,
    });
  });

  test('auto-delete: with the last binding from it, and not before there was one', async () => {
    const queue = await peer.declare('');
    await declare({ autoDelete: true });
    await declare({ passive: true });
    await bind(queue, 'x', 'a');
    await bind(queue, 'x', 'b');
    const unbind = { queue, exchange: 'x' };
    await peer.call(1, methods.queueUnbind, { ...unbind, routingKey: 'a' }, methods.queueUnbindOk);
    await declare({ passive: true });
    await peer.call(1, methods.queueUnbind, { ...unbind, routingKey: 'b' }, methods.queueUnbindOk);
    expect(await refused({ exchange: 'x', passive: true })).toMatch(/^404/);
  });

  test('no-wait: no answer, but errors all the same', async () => {
    peer.send(1, methods.exchangeDeclare, { exchange: 'x', type: 'direct', noWait: true });
    await peer.expectNothing();
    peer.send(1, methods.exchangeDeclare, { exchange: 'x', type: 'fanout', noWait: true });
    expect((await peer.closed()).code).toBe(406);
  });
});

describe('exchange.delete', () => {
  test('[0-9-1 exchange.delete.exchange.exists] what is not there is deleted already [RabbitMQ: specification, idempotent deletes]', async () => {
    await peer.call(1, methods.exchangeDelete, { exchange: 'nope' }, methods.exchangeDeleteOk);
  });

  test('[0-9-1 exchange.delete.if-unused.in-use] bindings from it count, bindings to it do not', async () => {
    const queue = await peer.declare('');
    await declare({});
    await bindExchange('x', 'amq.fanout');
    await bind(queue, 'x', 'k');
    const values = { exchange: 'x', ifUnused: true };
    expect(await refused(values, methods.exchangeDelete)).toBe(
      "406 PRECONDITION_FAILED - exchange 'x' in vhost '/' in use",
    );
    await peer.call(1, methods.queueUnbind, { queue, exchange: 'x', routingKey: 'k' }, methods.queueUnbindOk);
    await peer.call(1, methods.exchangeDelete, values, methods.exchangeDeleteOk);
  });

  test('its bindings go with it', async () => {
    const queue = await peer.declare('');
    await declare({ type: 'fanout' });
    await bind(queue, 'x');
    await peer.call(1, methods.exchangeDelete, { exchange: 'x' }, methods.exchangeDeleteOk);
    await declare({ type: 'fanout' });
    peer.publish(1, { exchange: 'x' }, 'm');
    expect(await arrived(queue)).toEqual([]);
  });
});

describe('exchange.bind, exchange.unbind [RabbitMQ: exchange to exchange bindings]', () => {
  test('of two that are not there the source is named', async () => {
    expect(await refused({ destination: 'a', source: 'b' }, methods.exchangeBind)).toBe(
      "404 NOT_FOUND - no exchange 'b' in vhost '/'",
    );
    expect(await refused({ destination: 'a', source: 'amq.fanout' }, methods.exchangeBind)).toBe(
      "404 NOT_FOUND - no exchange 'a' in vhost '/'",
    );
  });

  test('circles end, and each queue gets a message once', async () => {
    const queue = await peer.declare('');
    for (const exchange of ['a', 'b', 'c']) await declare({ exchange, type: 'fanout' });
    for (const [destination, source] of [
      ['b', 'a'],
      ['c', 'b'],
      ['a', 'c'],
    ] as const)
      await bindExchange(destination, source);
    for (const exchange of ['a', 'b', 'c']) await bind(queue, exchange);
    peer.publish(1, { exchange: 'a' }, 'once');
    expect(await arrived(queue)).toEqual(['once']);
  });

  test('what is not bound is unbound already', async () => {
    const values = { destination: 'amq.topic', source: 'amq.fanout', routingKey: 'never' };
    await peer.call(1, methods.exchangeUnbind, values, methods.exchangeUnbindOk);
    await peer.call(1, methods.exchangeUnbind, { ...values, destination: 'nope' }, methods.exchangeUnbindOk);
  });

  test('unbind-ok has the method id 51, as RabbitMQ’s grammar says', async () => {
    peer.send(1, methods.exchangeUnbind, { destination: 'amq.topic', source: 'amq.fanout' });
    expect((await peer.next()).payload.toString('hex')).toBe('00280033');
  });
});

describe('routing', () => {
  test('[0-9-1 queue.bind.routing-key.direct-exchange-key-matching] direct: a key that is the same', async () => {
    const queue = await peer.declare('');
    await bind(queue, 'amq.direct', 'K');
    for (const routingKey of ['K', 'k', 'K.', '']) peer.publish(1, { exchange: 'amq.direct', routingKey }, routingKey);
    expect(await arrived(queue)).toEqual(['K']);
  });

  test.each<[string, string[], string[]]>([
    ['#', ['', 'a', 'a.b'], []],
    ['*', ['a', '*', '#'], ['', 'a.b', '.']],
    ['a.*', ['a.b', 'a.'], ['a', 'a.b.c']],
    ['a.#', ['a', 'a.b', 'a.b.c'], ['b.a', 'aa']],
    ['#.z', ['z', 'a.z', 'a.b.z'], ['z.a']],
    ['a.*.#.b', ['a.x.b', 'a.x.y.b'], ['a.b', 'a.x.y']],
    ['', [''], ['a']],
    ['a..b', ['a..b'], ['a.b']],
    ['a.*.b', ['a..b', 'a.x.b'], ['a.b']],
  ])('[0-9-1 §3.1.3.3-1] topic: %j', async (pattern, matching, others) => {
    const queue = await peer.declare('');
    await bind(queue, 'amq.topic', pattern);
    for (const routingKey of [...matching, ...others])
      peer.publish(1, { exchange: 'amq.topic', routingKey }, routingKey);
    expect(await arrived(queue)).toEqual(matching);
  });

  test.each<[string, Record<string, Value>, Record<string, Value>[], Record<string, Value>[]]>([
    ['all', { 'x-match': 'all', a: int(1), b: 'x' }, [{ a: int(1), b: 'x', c: true }], [{ a: int(1) }, {}]],
    ['all, when nothing is said', { a: int(1), b: 'x' }, [{ a: int(1), b: 'x' }], [{ a: int(1) }]],
    ['any', { 'x-match': 'any', a: int(1), b: 'x' }, [{ a: int(1) }, { b: 'x' }], [{ a: int(2), b: 'y' }, {}]],
    ['x- is left aside', { 'x-match': 'all', 'x-a': int(1), b: 'x' }, [{ b: 'x' }], [{ 'x-a': int(1) }]],
    ['all-with-x', { 'x-match': 'all-with-x', 'x-a': int(1), b: 'x' }, [{ 'x-a': int(1), b: 'x' }], [{ b: 'x' }]],
    ['any-with-x', { 'x-match': 'any-with-x', 'x-a': int(1) }, [{ 'x-a': int(1) }], [{}]],
    ['void asks for the name alone', { a: null }, [{ a: 'whatever' }, { a: int(1) }], [{ b: 'x' }]],
    ['numbers by value', { a: int(5) }, [{ a: { type: 'long', value: 5n } }], [{ a: '5' }]],
    [
      'binary is the text of its octets',
      { a: Buffer.from('x'), b: 'y' },
      [{ a: 'x', b: Buffer.from('y') }],
      [{ a: 'x' }],
    ],
    ['no arguments at all', {}, [{}, { a: 'x' }], []],
  ])('[0-9-1 §3.1.3.4-1] headers: %s', async (_title, wanted, matching, others) => {
    const queue = await peer.declare('');
    await bind(queue, 'amq.headers', '', { arguments: args(wanted) });
    const all = [...matching, ...others];
    for (const [i, headers] of all.entries()) {
      peer.publish(1, { exchange: 'amq.headers' }, `${i}`, properties({ headers: args(headers) }));
    }
    expect(await arrived(queue)).toEqual(matching.map((_, i) => `${i}`));
  });

  test.each<[Value, string]>([
    ['some', 'Invalid x-match field value <<"some">>; expected all, any, all-with-x, or any-with-x'],
    [int(1), 'Invalid x-match field type signedint (value 1); expected longstr'],
  ])('headers: x-match %j is refused', async (match, text) => {
    const values = { queue: await peer.declare(''), exchange: 'amq.headers', arguments: args({ 'x-match': match }) };
    expect(await refused(values, methods.queueBind)).toBe(`406 PRECONDITION_FAILED - ${text}`);
  });

  test('alternate exchanges follow one another; what the last cannot route is returned', async () => {
    const queue = await peer.declare('');
    await declare({ exchange: 'last', type: 'direct' });
    await declare({ exchange: 'middle', type: 'direct', arguments: args({ 'alternate-exchange': 'last' }) });
    await declare({ exchange: 'first', type: 'direct', arguments: args({ 'alternate-exchange': 'middle' }) });
    await bind(queue, 'last', 'k');
    peer.publish(1, { exchange: 'first', routingKey: 'k', mandatory: true }, 'm');
    expect((await peer.get(queue))?.args.text('exchange')).toBe('first');
    peer.publish(1, { exchange: 'first', routingKey: 'other', mandatory: true }, 'm');
    expect((await peer.content(methods.basicReturn)).args.text('exchange')).toBe('first');
  });

  test('[0-9-1 basic.publish.exchange.02] an internal exchange takes no publishes: 403', async () => {
    await declare({ internal: true });
    peer.publish(1, { exchange: 'x' }, 'm');
    expect(await peer.closed()).toEqual({
      code: 403,
      text: "ACCESS_REFUSED - cannot publish to internal exchange 'x' in vhost '/'",
      classId: 60,
      methodId: 40,
    });
  });
});

describe('x-consistent-hash [RabbitMQ: consistent hash exchange]', () => {
  test.each<[string, string]>([
    ['0', 'The binding key must be greater than 0'],
    ['-1', 'The binding key must be greater than 0'],
    ['', 'The binding key must be an integer: <<>>'],
    ['abc', 'The binding key must be an integer: <<"abc">>'],
    ['1.5', 'The binding key must be an integer: <<"1.5">>'],
  ])('%j is no weight', async (routingKey, text) => {
    await declare({ type: 'x-consistent-hash' });
    const values = { queue: await peer.declare(''), exchange: 'x', routingKey };
    expect(await refused(values, methods.queueBind)).toBe(`406 PRECONDITION_FAILED - ${text}`);
  });

  test.each<[string, Record<string, Value>, string]>([
    [
      'both',
      { 'hash-header': 'h', 'hash-property': 'message_id' },
      'hash-header and hash-property are mutually exclusive',
    ],
    ['a property that is not hashed', { 'hash-property': 'user_id' }, 'Unsupported property: user_id'],
    ['a name that is no text', { 'hash-header': int(1) }, 'Unsupported property or header: its name is no text'],
  ])('hashing on %s is refused', async (_what, entries, text) => {
    expect(await refused({ exchange: 'x', type: 'x-consistent-hash', arguments: args(entries) })).toBe(
      `406 PRECONDITION_FAILED - ${text}`,
    );
  });

  test('a binding key is a weight: three times the keys for three times the weight', async () => {
    await declare({ type: 'x-consistent-hash' });
    const [one, three] = [await peer.declare(''), await peer.declare('')];
    await bind(one, 'x', '+1');
    await bind(three, 'x', '03');
    for (let i = 0; i < 4000; i++) peer.publish(1, { exchange: 'x', routingKey: `key-${i}` }, 'm');
    const counts: number[] = [];
    for (const queue of [one, three]) {
      const ok = await peer.call(1, methods.queuePurge, { queue }, methods.queuePurgeOk);
      counts.push(ok.number('messageCount'));
    }
    expect(counts[0]! + counts[1]!).toBe(4000);
    expect(counts[0]!).toBeGreaterThan(800);
    expect(counts[0]!).toBeLessThan(1200);
  });
});
