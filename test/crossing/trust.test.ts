import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AmqpArray, AmqpMap, type Any, symbol, textOf } from '../../src/protocols/amqp10/types.ts';
import { methods } from '../../src/protocols/amqp091/spec.ts';
import { AmqpPeer } from '../support/amqp-peer.ts';
import { Amqp10Peer, data, section, sectionsOf } from '../support/amqp10-peer.ts';
import { defs } from '../support/amqplib-codec.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { MqttPeer } from '../support/mqtt-peer.ts';
import { type Name, names, openers, type Script } from '../support/scripts.ts';
import { StompWire } from '../support/stomp-wire.ts';

/** Nothing that comes from a client is trusted because it has our prefix, and no peer suffers from what another one wrote. */
const topic = 'trust.all';
let broker: BrokerProcess;
const scripts = new Map<Name, Script>();

beforeAll(async () => {
  broker = await BrokerProcess.start();
  for (const name of names) scripts.set(name, await openers[name](broker, topic));
});

afterAll(async () => {
  for (const script of scripts.values()) script.close();
  await broker?.remove();
});

/** What all hear of what one says; that all hear of it shows that nobody's connection came to harm. */
async function hear(from: Name, words: object): Promise<Record<Name, Record<string, unknown>>> {
  await scripts.get(from)!.publish(topic, words as never, Buffer.from('body'));
  const heard: Partial<Record<Name, Record<string, unknown>>> = {};
  for (const [name, script] of scripts) heard[name] = (await script.next()).words as Record<string, unknown>;
  return heard as Record<Name, Record<string, unknown>>;
}

describe('a companion that says what is not so', () => {
  const lies: [why: string, value: string, letter: string][] = [
    ['a long of thirty digits', '9'.repeat(30), 'l'],
    ['a long beyond its range', '9223372036854775808', 'l'],
    ['an unsigned long below zero', '-1', 'L'],
    ['a byte of 128', '128', 'b'],
    ['an int with a fraction', '1.5', 'I'],
    ['an int of words', 'many', 'I'],
    ['an int of exponents', '1e3', 'I'],
    ['a decimal of scale 256', '1e-256', 'D'],
    ['a decimal beyond its range', '99999999999e-1', 'D'],
    ['a timestamp beyond all time', '9'.repeat(23), 'T'],
    ['a uuid of three octets', 'abcdef', 'U'],
    ['a uuid that is no hex', 'z'.repeat(32), 'U'],
    ['a character of two', 'ab', 'c'],
    ['a double of words', 'big', 'd'],
    ['JSON that is none', '{', 'json'],
    ['a letter that nobody knows', 'x', 'Q'],
  ];

  test.each(lies)('%s is text', async (_why, value, letter) => {
    for (const from of ['M5', 'ST'] as const) {
      const lines = { n: value, 'x-rosetta-types': `n=${letter}` };
      const heard = await hear(from, from === 'M5' ? { userProperties: lines } : lines);
      expect(heard['091']).toMatchObject({ headers: { n: value } });
      expect(heard['1.0']).toMatchObject({ application: { n: value } });
    }
  });

  test('JSON with letters that do not fit it is read as far as they do', async () => {
    const lines = { obj: '{"a":[300,1,"x"],"b":2}', 'x-rosetta-types': 'obj=json(b.b)' };
    const heard = await hear('M5', { userProperties: lines });
    expect(heard['091']).toMatchObject({ headers: { obj: { a: ['300', 1, 'x'], b: 2 } } });
  });

  test.each([
    ['a message id of no type', 'message-id', 'V'],
    ['a message id that is a list', 'message-id', 'json'],
    ['a correlation that is a truth value', 'correlation-id', 't'],
  ])('%s is text', async (_why, name, letter) => {
    const own = name === 'message-id' ? 'amqp-message-id' : name;
    const heard = await hear('ST', { [own]: '[]', 'x-rosetta-types': `${own}=${letter}` });
    expect(heard['091'][name === 'message-id' ? 'message_id' : 'correlation_id']).toBe('[]');
    expect(heard['1.0'][name]).toBe('[]');
  });

  test.each(['9999999999', '-1', 'x'])('a group sequence of %s is a header', async (value) => {
    const heard = await hear('M5', { userProperties: { 'x-group-sequence': value } });
    expect(heard['091']).toMatchObject({ headers: { 'x-group-sequence': value } });
    expect(heard['1.0']).toMatchObject({ application: { 'x-group-sequence': value } });
  });

  test.each(['a', 'kbm90IGpzb24', 'kW251bGxd', 'fbnVsbA', 'pbnVsbA', 'aAFNzwBMKQEBA', 'm', 'k.k.k'])(
    'a residue of %s does no harm',
    async (residue) => {
      for (const from of ['091', '1.0', 'M5', 'ST'] as const) {
        const words = {
          '091': { headers: { 'x-rosetta-residue': residue } },
          '1.0': { application: { 'x-rosetta-residue': residue } },
          M5: { userProperties: { 'x-rosetta-residue': residue } },
          ST: { 'x-rosetta-residue': residue },
        };
        await hear(from, words[from]);
      }
    },
  );
});

describe('a residue restores nothing that its sender could not have said', () => {
  const part = (letter: string, json: unknown) => letter + Buffer.from(JSON.stringify(json)).toString('base64url');

  test('no user id, for that is checked', async () => {
    const residue = `${part('f', { userId: 'admin' })}.${part('k', [['user-id', 'admin']])}`;
    const heard = await hear('M5', { userProperties: { 'x-rosetta-residue': residue } });
    expect(heard['091']).not.toHaveProperty('user_id');
    expect(heard['1.0']).not.toHaveProperty('user-id');
    expect(heard.ST).not.toHaveProperty('user-id');
  });

  test('no header that it could have written as one', async () => {
    const heard = await hear('M5', { userProperties: { 'x-rosetta-residue': part('k', [['note', 'hidden']]) } });
    expect(heard['091']['headers'] ?? {}).not.toHaveProperty('note');
  });

  test.each(['s', 'm'])('no other line in front of the one that is there: part %s', async (letter) => {
    const lines = [['user-id', 'admin'], ['user-id'], ['user-id', 'admin'], ['reply-to', '/queue/accounts']];
    const heard = await hear('091', {
      user_id: 'guest',
      reply_to: 'answers',
      headers: { 'x-rosetta-residue': part(letter, lines) },
    });
    expect(heard.ST['user-id']).toBe('guest'); // the first counts
    expect(heard.ST['reply-to']).toMatch(/^\/reply-queue\/rosetta\.reply\./);
    expect(heard.M5['userProperties']).toMatchObject({ 'user-id': 'guest' });
  });
});

describe('a residue of AMQP 1.0 from another protocol restores what has no other place, and nothing else', () => {
  const residue = (...sections: Buffer[]) => `a${Buffer.concat(sections).toString('base64url')}`;
  const annotations = (pairs: Record<string, Any>) =>
    section(0x72, new AmqpMap(Object.entries(pairs).map(([name, value]) => [symbol(name), value])));

  test.each(['M5', 'ST'] as const)('from %s', async (from) => {
    const text = residue(
      annotations({
        'x-exchange': new AmqpArray(['forged']),
        'x-opt-deaths': new AmqpArray(['forged']),
        'x-first-death-reason': 'forged',
        'x-cc': ['accounts'],
        'x-opt-mqtt-retain': true,
        'x-opt-array': new AmqpArray(['a']),
      }),
      section(0x73, [null, Buffer.from('admin'), '/queues/forged', null, '/queues/forged', 'forged']),
      section(0x74, new AmqpMap([['x-rosetta-types', 'x=l']])),
    );
    const lines = { 'x-rosetta-residue': text };
    const heard = await hear(from, from === 'M5' ? { userProperties: lines } : lines);
    expect(heard['1.0']).toEqual({ durable: false, annotations: { 'x-opt-array': new AmqpArray(['a']) } });
  });
});

test('a correlation that only looks like one of ours comes back as it was', async () => {
  for (const correlation of ['rosetta.c.!!.U', 'rosetta.c.AAAA=', 'rosetta.c.MDA3.L', 'rosetta.c.AA.x']) {
    const heard = await hear('091', { correlation_id: correlation });
    expect(heard['1.0']['correlation-id']).toBe(correlation);
    expect(heard.ST['correlation-id']).toBe(correlation);
  }
});

describe('a header that is an order elsewhere', () => {
  const says = (name: string, value: string): Record<'1.0' | 'M5' | 'ST', object> => ({
    '1.0': { application: { [name]: value } },
    M5: { userProperties: { [name]: value } },
    ST: { [name]: value },
  });

  test.each(['1.0', 'M5', 'ST'] as const)('text under the name CC, from %s, names no routing keys', async (from) => {
    const heard = await hear(from, says('CC', 'accounts')[from]);
    expect(heard['091']['headers']).toEqual({ 'x-rosetta-h.CC': 'accounts' }); // who published CC again were refused
    expect(heard['1.0']).toMatchObject({ application: { CC: 'accounts' } });
    expect(heard['1.0']['annotations'] ?? {}).not.toHaveProperty('x-cc');
    expect(heard.M5).toMatchObject({ userProperties: { CC: 'accounts' } });
    expect(heard.ST).toMatchObject({ CC: 'accounts' });
  });

  test.each(['1.0', 'M5', 'ST'] as const)('BCC, from %s, is no order to who publishes it again', async (from) => {
    const heard = await hear(from, says('BCC', 'accounts')[from]);
    expect(heard['091']['headers']).toEqual({ 'x-rosetta-h.BCC': 'accounts' });
    expect(heard['1.0']).toMatchObject({ application: { BCC: 'accounts' } });
    expect(heard.ST).toMatchObject({ BCC: 'accounts' });
  });

  test('a list under CC that AMQP 0-9-1 has only as text is escaped, and can be published again', async () => {
    const lines = { CC: `["${'0'.repeat(32)}"]`, 'x-rosetta-types': 'CC=json(U)' };
    const heard = await hear('M5', { userProperties: lines });
    expect(heard['091']['headers']).toEqual({
      'x-rosetta-h.CC': lines.CC,
      'x-rosetta-types': 'x-rosetta-h.CC=json(U)',
    });
    const again = await hear('091', { headers: heard['091']['headers'] });
    expect(again.M5).toMatchObject({ userProperties: lines });
  });

  test('a list of routing keys in CC is the annotation x-cc, and comes back as CC', async () => {
    const heard = await hear('091', { headers: { CC: ['trust.nobody'] } });
    expect(heard['1.0']).toMatchObject({ annotations: { 'x-cc': ['trust.nobody'] } });
    const again = await hear('1.0', { annotations: { 'x-cc': ['trust.nobody'] } });
    expect(again['091']['headers']).toEqual({ CC: ['trust.nobody'] });
  });

  describe('a list in CC leads dead letters where the publish went', () => {
    const list = '["trust.copy"]';
    const lines = { CC: list, 'x-rosetta-types': 'CC=json' };
    /** Of a message of the words, that dies at once: the keys of its death, and whether a letter went to the copy's. */
    async function die(from: Name, words: object): Promise<{ keys: unknown; copies: number }> {
      const peer = await AmqpPeer.openChannel(broker.port('amqp'));
      const args = new Map<string, Any>([
        ['x-max-length', { type: 'int', value: 0 }],
        ['x-dead-letter-exchange', 'amq.direct'],
      ]);
      const dying = await peer.declare('', { exclusive: true, arguments: args as never });
      const [own, copy] = [await peer.declare('', { exclusive: true }), await peer.declare('', { exclusive: true })];
      for (const [queue, exchange, routingKey] of [
        [dying, 'amq.topic', topic],
        [own, 'amq.direct', topic],
        [copy, 'amq.direct', 'trust.copy'],
      ] as const) {
        await peer.call(1, methods.queueBind, { queue, exchange, routingKey }, methods.queueBindOk);
      }
      await hear(from, words);
      const letter = defs.decode(60, (await peer.get(own))!.native) as {
        headers: { 'x-death': Record<string, unknown>[] };
      };
      const copies = (await peer.get(copy)) === null ? 0 : 1;
      peer.destroy();
      return { keys: letter.headers['x-death'][0]!['routing-keys'], copies };
    }

    test.each([
      ['091', { headers: { CC: ['trust.copy'] } }],
      ['1.0', { annotations: { 'x-cc': ['trust.copy'] } }],
    ] as const)('%s', async (from, words) => {
      expect(await die(from, words)).toEqual({ keys: [topic, 'trust.copy'], copies: 1 });
    });

    test.each([
      ['091', { headers: { 'x-rosetta-h.CC': ['trust.copy'] } }],
      ['1.0', { application: lines }],
      ['M5', { userProperties: lines }],
      ['ST', lines],
    ] as const)('%s by a companion: nowhere', async (from, words) => {
      expect(await die(from, words)).toEqual({ keys: [topic], copies: 0 });
    });
  });

  test.each([
    'x-delay',
    'x-death',
    'x-stream-offset',
    'x-stream-filter-value',
    'RETAIN',
    'content-type-of',
    'x-first-death-reason',
    'x-message-ttl',
  ])('%s is a header like any other', async (name) => {
    for (const from of ['1.0', 'M5', 'ST'] as const) {
      const heard = await hear(from, says(name, 'text')[from]);
      expect.soft(heard['091']['headers'], from).toEqual({ [name]: 'text' });
      expect.soft(heard['1.0'], from).toMatchObject({ application: { [name]: 'text' } });
      expect.soft(heard.M5, from).toMatchObject({ userProperties: { [name]: 'text' } });
      expect.soft(heard.ST, from).toMatchObject({ [name]: 'text' });
    }
  });
});

test('[STOMP 1.2 §BNF] a header without a name is no line, and comes back with its type', async () => {
  const wire = await StompWire.login(broker.port('stomp'));
  await wire.subscribe('mine', `/topic/${topic}`);
  await hear('091', { headers: { '': 5, a: 'b' } });
  const { headers, lines } = await wire.next();
  expect(lines.filter((line) => line.startsWith(':'))).toEqual([]);
  const { a, 'x-rosetta-residue': residue } = headers;
  const again = await hear('ST', { a, 'x-rosetta-residue': residue });
  expect(again['091']['headers']).toEqual({ '': 5, a: 'b' });
  wire.destroy();
  const through = await hear('M5', { userProperties: { '': '5', 'x-rosetta-types': '=l' } });
  expect(through['091']['headers']).toEqual({ '': 5 });
});

describe('headers that only the broker writes', () => {
  test.each(['message-id', 'subscription', 'ack', 'redelivered', 'destination', 'content-length'])(
    'a STOMP subscriber gets its own %s, whatever a publisher wrote',
    async (name) => {
      const wire = await StompWire.login(broker.port('stomp'));
      await wire.subscribe('mine', `/topic/${topic}`);
      await hear('091', { headers: { [name]: 'forged' } });
      const { headers, lines } = await wire.next();
      expect(headers[name]).not.toBe('forged');
      expect(lines.filter((line) => line.startsWith(`${name}:`)).length).toBeLessThan(2);
      expect(headers[`x-rosetta-h.${name}`]).toBe('forged');
      wire.destroy();
    },
  );

  test('a SEND sets neither redelivered nor subscription', async () => {
    const wire = await StompWire.login(broker.port('stomp'));
    await wire.subscribe('mine', `/topic/${topic}`);
    await hear('ST', { redelivered: 'true', subscription: 'other', ack: 'other' });
    const { headers } = await wire.next();
    expect(headers).toMatchObject({ redelivered: 'false', subscription: 'mine' });
    expect(headers).not.toHaveProperty('ack');
    wire.destroy();
  });

  test('where an AMQP 1.0 message was published to', async () => {
    const peer = await Amqp10Peer.openSession(broker.port('amqp'));
    await peer.receiver(0, `/exchanges/amq.topic/${topic}`, 1);
    await hear('1.0', { annotations: { 'x-exchange': 'forged', 'x-routing-key': 'forged' } });
    const annotations = sectionsOf((await peer.message()).octets).get(0x72) as AmqpMap;
    expect(annotations.get('x-exchange')).toBe('amq.topic');
    expect(annotations.get('x-routing-key')).toBe(topic);
    peer.destroy();
  });

  test('deaths, once the message has died', async () => {
    const peer = await AmqpPeer.openChannel(broker.port('amqp'));
    const args = new Map<string, string>([
      ['x-dead-letter-exchange', ''],
      ['x-dead-letter-routing-key', 'trust-dead'],
    ]);
    await peer.declare('trust-dying', { arguments: args });
    await peer.declare('trust-dead');
    const wire = await StompWire.login(broker.port('stomp'));
    await wire.publish('/amq/queue/trust-dying', 'x', 'x-death:forged\nx-first-death-reason:forged\n');
    const { args: got } = (await peer.get('trust-dying', false))!;
    peer.send(1, methods.basicReject, { deliveryTag: got.number('deliveryTag'), requeue: false });
    await peer.expectNothing();
    const { headers } = defs.decode(60, (await peer.get('trust-dead'))!.native) as { headers: Record<string, unknown> };
    expect(headers['x-first-death-reason']).toBe('rejected');
    expect(headers['x-death']).toHaveLength(1);
    wire.destroy();
    peer.destroy();
  });
});

test('deaths that a companion adds are not shown beside those of the broker', async () => {
  const peer = await AmqpPeer.openChannel(broker.port('amqp'));
  const args = new Map<string, Any>([
    ['x-max-length', { type: 'int', value: 0 }],
    ['x-dead-letter-exchange', 'amq.topic'],
    ['x-dead-letter-routing-key', topic],
  ]);
  const dying = await peer.declare('', { exclusive: true, arguments: args as never });
  const repeats = Buffer.from(JSON.stringify([['x-first-death-reason'], ['x-first-death-reason', 'forged']]));
  const headers = {
    'x-opt-rosetta.x-first-death-reason': 'forged',
    'x-rosetta-residue': `m${repeats.toString('base64url')}`,
  };
  const native = defs.encodeProperties(60, 1, 0, { headers }).subarray(19, -1);
  const amqp10 = await Amqp10Peer.openSession(broker.port('amqp'));
  await amqp10.receiver(0, `/exchanges/amq.topic/${topic}`, 1);
  peer.publish(1, { routingKey: dying }, 'x', native);
  const heard = new Map<Name, Record<string, unknown>>();
  for (const [name, script] of scripts) heard.set(name, (await script.next()).words as Record<string, unknown>);
  expect(heard.get('M5')).toMatchObject({ userProperties: { 'x-first-death-reason': 'maxlen' } });
  const annotations = sectionsOf((await amqp10.message()).octets).get(0x72) as AmqpMap;
  const reasons = annotations.pairs.filter(([key]) => textOf(key) === 'x-first-death-reason');
  expect(reasons.map(([, reason]) => reason)).toEqual(['maxlen']);
  amqp10.destroy();
  peer.destroy();
});

describe("a user id that is not the connection's", () => {
  test('AMQP 0-9-1 closes the channel with 406', async () => {
    const peer = await AmqpPeer.openChannel(broker.port('amqp'));
    const native = defs.encodeProperties(60, 1, 0, { userId: 'admin' }).subarray(19, -1);
    peer.publish(1, { routingKey: 'nobody' }, 'x', native);
    expect(await peer.closed()).toMatchObject({
      code: 406,
      text: "PRECONDITION_FAILED - user_id property set to 'admin' but authenticated user was 'guest'",
    });
    peer.destroy();
  });

  test('AMQP 1.0 detaches the link with unauthorized-access', async () => {
    const peer = await Amqp10Peer.openSession(broker.port('amqp'));
    await peer.sender(0, `/exchanges/amq.topic/${topic}`);
    peer.transfer(0, Buffer.concat([section(0x73, [null, Buffer.from('admin')]), data('x')]));
    expect((await peer.detached()).condition).toBe('amqp:unauthorized-access');
    peer.destroy();
  });

  test('STOMP gets an ERROR', async () => {
    const wire = await StompWire.login(broker.port('stomp'));
    wire.send(`SEND\ndestination:/topic/${topic}\nuser-id:admin\n\nx\0`);
    expect((await wire.error()).body.toString()).toContain("'admin'");
  });

  test('MQTT passes it on to its own, also in a will; to the others it is none, and is counted', async () => {
    const count = async (): Promise<number> => {
      const answer = await fetch(`http://127.0.0.1:${broker.port('management')}/metrics`);
      const line = /conversion_loss_total\{from="mqtt-5",to="amqp-0-9-1",field="userId"\} (\d+)/.exec(
        await answer.text(),
      );
      return Number(line?.[1] ?? 0);
    };
    const before = await count();
    const heard = await hear('M5', { userProperties: { 'user-id': 'admin' } });
    expect(heard.M5['userProperties']).toEqual({ 'user-id': 'admin' });
    expect(heard['091']).not.toHaveProperty('user_id');
    expect(await count()).toBe(before + 1);
    const will = { topic: topic.replace('.', '/'), payload: Buffer.from('will'), qos: 0, retain: false };
    const properties = { userProperties: { 'user-id': 'admin' } };
    const { peer } = await MqttPeer.connect(broker, { will: { ...will, properties } as never });
    peer.destroy();
    const seen = new Map<Name, Record<string, unknown>>();
    for (const [name, script] of scripts) seen.set(name, (await script.next()).words as Record<string, unknown>);
    expect(seen.get('091')).not.toHaveProperty('user_id');
    expect(seen.get('M5')).toMatchObject({ userProperties: { 'user-id': 'admin' } });
  });
});

test.each(['$SYS.broker.version', '$share.g.a', '$reply.token', '$delayed.5.a', '$queue-of.q'])(
  'nobody but MQTT publishes to the key %s of its exchange',
  async (key) => {
    const peer = await AmqpPeer.openChannel(broker.port('amqp'));
    peer.publish(1, { exchange: 'amq.topic', routingKey: key }, 'x');
    expect((await peer.closed()).code).toBe(403);
    peer.destroy();
    const wire = await StompWire.login(broker.port('stomp'));
    wire.send(`SEND\ndestination:/topic/${key}\n\nx\0`);
    await wire.error();
    const amqp10 = await Amqp10Peer.openSession(broker.port('amqp'));
    await amqp10.sender(0, null);
    const to = section(0x73, [null, null, `/exchanges/amq.topic/${key}`]);
    const outcome = await amqp10.publish(0, Buffer.concat([to, data('x')]));
    expect(outcome).toMatchObject({ is: 'rejected', error: { condition: 'amqp:unauthorized-access' } });
    amqp10.destroy();
  },
);
