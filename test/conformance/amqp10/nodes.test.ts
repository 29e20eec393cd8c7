import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Composite, Values } from '../../../src/protocols/amqp10/performatives.ts';
import { AmqpMap, type Any, Described, symbol, uint } from '../../../src/protocols/amqp10/types.ts';
import { methods } from '../../../src/protocols/amqp091/spec.ts';
import { decodeTable } from '../../../src/protocols/amqp091/table.ts';
import { AmqpPeer } from '../../support/amqp-peer.ts';
import { Amqp10Peer, bodyOf, data, mapOf, section, sectionsOf, toSource, toTarget } from '../../support/amqp10-peer.ts';
import { BrokerProcess } from '../../support/broker-process.ts';

let broker: BrokerProcess;
let port: number;
beforeAll(async () => {
  broker = await BrokerProcess.start();
  port = broker.port('amqp');
});
afterAll(() => broker?.remove());

const accepted: Composite = { is: 'accepted' };

async function refused(
  peer: Amqp10Peer,
  values: Values<'attach'>,
): Promise<{ condition: string; description?: string }> {
  peer.send('attach', values);
  const attach = await peer.expect('attach');
  expect(attach.role ? attach.target : attach.source).toBeUndefined();
  const { condition, description } = await peer.detached();
  peer.send('detach', { handle: values.handle, closed: true });
  return { condition, ...(description === undefined ? {} : { description }) };
}

describe('addresses', () => {
  test.each([
    ['/queues/addresses%2Fv2', '/queues/addresses%2Fv2'],
    ['/queue/addresses-v1', '/amq/queue/addresses-v1'],
    ['addresses-bare', '/queues/addresses-bare'],
    ['queue://addresses-jms', 'addresses-jms'],
  ])('a message to %s is received from %s', async (target, source) => {
    const peer = await Amqp10Peer.openSession(port);
    if (target.startsWith('/queues/')) await peer.manage('PUT', target, mapOf({}));
    await peer.sender(0, target);
    await peer.receiver(1, source, 1);
    peer.transfer(0, data('x'), { settled: true });
    expect(bodyOf((await peer.message()).octets)).toBe('x');
    peer.destroy();
  });

  test.each([
    ['/topic/addresses.a', '/topic/addresses.*', 'amq.topic', 'addresses.a'],
    ['/exchange/amq.direct/k', '/exchange/amq.direct/k', 'amq.direct', 'k'],
    ['/exchanges/amq.direct/a%2Fb', '/exchanges/amq.direct/a%2Fb', 'amq.direct', 'a/b'],
    ['/exchanges/amq.fanout', '/exchanges/amq.fanout', 'amq.fanout', ''],
    ['topic://addresses.b', 'topic://addresses.#', 'amq.topic', 'addresses.b'],
  ])('a message to %s reaches subscribers of %s', async (target, source, exchange, key) => {
    const peer = await Amqp10Peer.openSession(port);
    await peer.receiver(1, source, 1);
    await peer.sender(0, target);
    peer.transfer(0, data('x'), { settled: true });
    const annotations = sectionsOf((await peer.message()).octets).get(0x72) as AmqpMap;
    expect([annotations.get('x-exchange'), annotations.get('x-routing-key')]).toEqual([exchange, key]);
    peer.destroy();
  });

  test('the capability topic makes a bare name a topic', async () => {
    const peer = await Amqp10Peer.openSession(port);
    await peer.receiver(1, toSource('weather.hall', { capabilities: ['topic'] }), 1);
    await peer.sender(0, { is: 'target', address: 'weather.hall', capabilities: ['topic'] });
    peer.transfer(0, data('mild'), { settled: true });
    expect(bodyOf((await peer.message()).octets)).toBe('mild');
    peer.destroy();
  });

  test('v1 without a key: each message’s subject is the key', async () => {
    const peer = await Amqp10Peer.openSession(port);
    await peer.receiver(1, '/exchange/amq.direct/by-subject', 1);
    await peer.sender(0, '/exchange/amq.direct');
    peer.transfer(0, Buffer.concat([section(0x73, [null, null, null, 'by-subject']), data('x')]), { settled: true });
    expect(bodyOf((await peer.message()).octets)).toBe('x');
    peer.destroy();
  });

  test('[RabbitMQ: sender-selected distribution] x-cc names further keys: each queue gets the message once', async () => {
    const peer = await Amqp10Peer.openSession(port);
    const queues = ['copies-a', 'copies-b', 'copies-c'];
    for (const queue of queues) await peer.manage('PUT', `/queues/${queue}`, mapOf({}));
    await peer.sender(0, '/queues/copies-a');
    const annotated = (value: Any) => Buffer.concat([section(0x72, new AmqpMap([[symbol('x-cc'), value]])), data('x')]);
    expect(await peer.publish(0, annotated(['copies-b', 'copies-a', 'nowhere']))).toEqual(accepted);
    expect(await peer.publish(0, annotated('copies-c'))).toEqual(accepted); // no list: of no effect
    const amqp091 = await AmqpPeer.openChannel(port);
    const counts = await Promise.all(
      queues.map(async (queue) => {
        const ok = await amqp091.call(1, methods.queueDeclare, { queue, passive: true }, methods.queueDeclareOk);
        return ok.number('messageCount');
      }),
    );
    expect(counts).toEqual([2, 1, 0]);
    const got = await amqp091.get('copies-b');
    expect(decodeTable(got!.native, 2).get('CC')).toEqual(['copies-b', 'copies-a', 'nowhere']);
    for (const each of [amqp091, peer]) each.destroy();
  });

  describe('the anonymous terminus', () => {
    test('[JMS mapping] a producer without a destination says in each message whether its name is of a queue or a topic', async () => {
      const peer = await Amqp10Peer.openSession(port);
      await peer.manage('PUT', '/queues/jms-news', mapOf({}));
      await peer.receiver(1, 'topic://jms-news', 5);
      await peer.receiver(2, '/queues/jms-news', 5);
      await peer.sender(0, null);
      const send = (to: string, kind: number, body: string): number => {
        const kinds = new AmqpMap([[symbol('x-opt-jms-dest'), { type: 'byte', value: kind }]]);
        return peer.transfer(0, Buffer.concat([section(0x72, kinds), section(0x73, [null, null, to]), data(body)]), {
          settled: true,
        });
      };
      for (const [to, kind, handle] of [
        ['jms-news', 1, 1],
        ['jms-news', 0, 2],
        ['topic://jms-news', 0, 1],
        ['/queues/jms-news', 1, 2],
        ['jms-news', 3, 1],
      ] as const) {
        send(to, kind, `${to} ${kind}`);
        const { transfer, octets } = await peer.message();
        expect([transfer.handle, bodyOf(octets)]).toEqual([handle, `${to} ${kind}`]);
      }
      peer.destroy();
    });

    test('each message goes where it says', async () => {
      const peer = await Amqp10Peer.openSession(port);
      await peer.manage('PUT', '/queues/relay', mapOf({}));
      await peer.sender(0, null);
      const to = (address: string | null) => Buffer.concat([section(0x73, [null, null, address]), data('x')]);
      expect(await peer.publish(0, to('/queues/relay'))).toEqual(accepted);
      expect(await peer.publish(0, to('/exchanges/amq.direct/nobody'))).toEqual({ is: 'released' });
      expect(await peer.publish(0, to('/exchanges/nothing/k'))).toMatchObject({
        is: 'rejected',
        error: { condition: 'amqp:not-found', description: "no exchange 'nothing' in vhost '/'" },
      });
      expect(await peer.publish(0, to('/what/is/this'))).toMatchObject({
        is: 'rejected',
        error: { condition: 'amqp:invalid-field' },
      });
      expect(await peer.publish(0, to(null))).toMatchObject({
        is: 'rejected',
        error: { condition: 'amqp:precondition-failed' },
      });
      expect(await peer.publish(0, to('/queues/relay'))).toEqual(accepted);
      peer.destroy();
    });
  });

  test.each<[string, Partial<Values<'attach'>>, string, string | undefined]>([
    [
      'a target queue of v2 that is not there',
      { role: false, target: { is: 'target', address: '/queues/none' } },
      'amqp:not-found',
      "no queue 'none' in vhost '/'",
    ],
    [
      'a source queue of v2 that is not there',
      { role: true, source: { is: 'source', address: '/queues/none' } },
      'amqp:not-found',
      "no queue 'none' in vhost '/'",
    ],
    [
      'an exchange that is not there',
      { role: false, target: { is: 'target', address: '/exchanges/none/k' } },
      'amqp:not-found',
      "no exchange 'none' in vhost '/'",
    ],
    [
      'the default exchange',
      { role: false, target: { is: 'target', address: '/exchanges/amq.default/k' } },
      'amqp:invalid-field',
      undefined,
    ],
    [
      'percents that are none',
      { role: false, target: { is: 'target', address: '/queues/%zz' } },
      'amqp:invalid-field',
      "bad address '/queues/%zz'",
    ],
    ['an empty name', { role: false, target: { is: 'target', address: '/queues/' } }, 'amqp:invalid-field', undefined],
    [
      'an address that is no text',
      { role: true, source: { is: 'source', address: uint(5) } },
      'amqp:invalid-field',
      undefined,
    ],
    [
      'Service Bus’ node for tokens',
      { role: false, target: { is: 'target', address: '$cbs' } },
      'amqp:not-implemented',
      'no claims-based security: log in by SASL',
    ],
    ['no source at all, without a subscription of the name', { role: true }, 'amqp:not-found', undefined],
  ])(
    '[1.0 §2.6.3-2] %s: the link is attached without its terminus, and detached',
    async (_name, values, condition, text) => {
      const peer = await Amqp10Peer.openSession(port);
      const error = await refused(peer, {
        name: 'refused',
        handle: 3,
        role: false,
        initialDeliveryCount: 0,
        ...values,
      });
      expect(error.condition).toBe(condition);
      if (text !== undefined) expect(error.description).toBe(text);
      await peer.sender(3, 'after-refusal'); // handle and session live on
      peer.destroy();
    },
  );

  test('another connection’s exclusive queue is locked', async () => {
    const owner = await Amqp10Peer.openSession(port);
    await owner.manage('PUT', '/queues/locked', mapOf({ exclusive: true }));
    const peer = await Amqp10Peer.openSession(port);
    const source: Composite = { is: 'source', address: '/queues/locked' };
    const error = await refused(peer, { name: 'l', handle: 0, role: true, source });
    expect(error.condition).toBe('amqp:resource-locked');
    for (const each of [owner, peer]) each.destroy();
  });

  test('[1.0 §2.7.9-1] a queue that is deleted detaches its receivers', async () => {
    const peer = await Amqp10Peer.openSession(port);
    await peer.manage('PUT', '/queues/short-lived', mapOf({}));
    await peer.receiver(1, '/queues/short-lived', 1);
    const other = await Amqp10Peer.openSession(port);
    await other.manage('DELETE', '/queues/short-lived');
    expect(await peer.detached()).toMatchObject({ condition: 'amqp:resource-deleted', closed: true });
    for (const each of [other, peer]) each.destroy();
  });
});

describe('sessions and handles', () => {
  test('[1.0 §2.7.3-1] a handle that is in use ends the session', async () => {
    const peer = await Amqp10Peer.openSession(port);
    await peer.sender(0, 'handles');
    peer.send('attach', {
      name: 'another',
      handle: 0,
      role: false,
      target: toTarget('handles'),
      initialDeliveryCount: 0,
    });
    expect((await peer.expect('end')).error?.condition).toBe('amqp:session:handle-in-use');
    peer.destroy();
  });

  test.each<[string, (peer: Amqp10Peer) => void]>([
    ['a flow', (peer) => peer.credit(7, 1)],
    ['a detach', (peer) => peer.send('detach', { handle: 7 })],
    ['a transfer', (peer) => peer.transfer(7, data('x'))],
  ])('[1.0 §2.8.17-1] [1.0 §2.7.4-1] %s for a handle that nobody attached ends the session', async (_name, send) => {
    const peer = await Amqp10Peer.openSession(port);
    send(peer);
    expect((await peer.expect('end')).error?.condition).toBe('amqp:session:unattached-handle');
    peer.destroy();
  });

  test('[1.0 §2.5.1-1] [1.0 §2.6.3-1] many sessions and links at a time', async () => {
    const peer = await Amqp10Peer.open(port);
    for (let channel = 0; channel < 20; channel++) {
      await peer.begin(channel);
      for (let handle = 0; handle < 20; handle++) {
        const target: Composite = { is: 'target', address: `many-${channel}` };
        peer.send('attach', { name: `link-${handle}`, handle, role: false, target, initialDeliveryCount: 0 }, channel);
        await peer.expect('attach');
        await peer.expect('flow');
      }
    }
    peer.destroy();
  });

  test('[1.0 §2.6.1-1] who goes on with a link of the name takes it over; two may have one name', async () => {
    const peer = await Amqp10Peer.openSession(port);
    await peer.sender(0, 'stolen', { name: 'one' });
    await peer.sender(1, 'stolen', { name: 'one' });
    const target: Composite = { is: 'target', address: 'stolen' };
    peer.send('attach', {
      name: 'one',
      handle: 2,
      role: false,
      target,
      unsettled: new AmqpMap([]),
      initialDeliveryCount: 0,
    });
    expect(await peer.detached()).toMatchObject({ condition: 'amqp:link:stolen' });
    expect(await peer.detached()).toMatchObject({ condition: 'amqp:link:stolen' });
    await peer.expect('attach');
    peer.destroy();
  });
});

describe('dynamic nodes', () => {
  test('[1.0 §3.5.3-1] a source is made, with its address, and goes when its link is closed', async () => {
    const peer = await Amqp10Peer.openSession(port);
    const { source } = await peer.receiver(0, { is: 'source', dynamic: true }, 1);
    const made = source as Composite & { is: 'source' };
    expect(made.address).toMatch(/^\/queues\/amq\.dynamic-/);
    const policy = made.dynamicNodeProperties?.get('lifetime-policy') as Described;
    expect(policy.descriptor).toBe(0x2bn);
    await peer.sender(1, made.address as string);
    peer.transfer(1, data('x'), { settled: true });
    expect(bodyOf((await peer.message()).octets)).toBe('x');
    peer.send('detach', { handle: 0, closed: true });
    await peer.expect('detach');
    const target: Composite = { is: 'target', address: made.address as string };
    expect(
      (await refused(peer, { name: 'gone', handle: 5, role: false, target, initialDeliveryCount: 0 })).condition,
    ).toBe('amqp:not-found');
    peer.destroy();
  });

  test('[1.0 §3.5.4-1] a JMS temporary queue: made by a sender, consumed by its connection alone, sent to by anybody', async () => {
    const peer = await Amqp10Peer.openSession(port);
    const policy = new Described(0x2bn, []);
    const { target } = await peer.sender(0, {
      is: 'target',
      dynamic: true,
      capabilities: ['temporary-queue'],
      dynamicNodeProperties: new AmqpMap([[symbol('lifetime-policy'), policy]]),
    });
    const address = (target as Composite & { is: 'target' }).address as string;
    await peer.receiver(1, address, 1);
    const other = await Amqp10Peer.openSession(port, { containerId: 'other' });
    await other.sender(0, address);
    expect(await other.publish(0, data('reply'))).toEqual(accepted);
    expect(bodyOf((await peer.message()).octets)).toBe('reply');
    const source: Composite = { is: 'source', address };
    expect((await refused(other, { name: 'thief', handle: 3, role: true, source })).condition).toBe(
      'amqp:resource-locked',
    );
    for (const each of [other, peer]) each.destroy();
  });

  test('a JMS temporary topic reaches all its subscribers', async () => {
    const peer = await Amqp10Peer.openSession(port);
    const { target } = await peer.sender(0, { is: 'target', dynamic: true, capabilities: ['temporary-topic'] });
    const address = (target as Composite & { is: 'target' }).address as string;
    await peer.receiver(1, address, 1);
    await peer.receiver(2, address, 1);
    peer.transfer(0, data('x'), { settled: true });
    expect([(await peer.message()).transfer.handle, (await peer.message()).transfer.handle].sort()).toEqual([1, 2]);
    peer.destroy();
  });

  test('delete-on-no-links: it goes with its last receiver', async () => {
    const peer = await Amqp10Peer.openSession(port);
    const properties = new AmqpMap([[symbol('lifetime-policy'), new Described('amqp:delete-on-no-links:list', [])]]);
    const { source } = await peer.receiver(0, { is: 'source', dynamic: true, dynamicNodeProperties: properties });
    const { address } = source as Composite & { is: 'source' };
    await peer.receiver(1, toSource(address as string));
    for (const handle of [0, 1]) {
      await peer.sender(7, address as string);
      peer.send('detach', { handle: 7, closed: true });
      await peer.expect('detach');
      peer.send('detach', { handle, closed: true });
      await peer.expect('detach');
    }
    const target: Composite = { is: 'target', address: address as string };
    expect(
      (await refused(peer, { name: 'gone', handle: 5, role: false, target, initialDeliveryCount: 0 })).condition,
    ).toBe('amqp:not-found');
    peer.destroy();
  });
});

describe('[1.0 §3.5.10-1] lifetime policies of a dynamic queue, when the link that it was made for is closed', () => {
  test.each<[string, 'empty' | 'holds a message', 'with another receiver' | 'alone', boolean]>([
    ['delete-on-close', 'holds a message', 'alone', true],
    ['delete-on-close', 'empty', 'with another receiver', true],
    ['delete-on-no-links', 'holds a message', 'alone', true],
    ['delete-on-no-links', 'empty', 'with another receiver', false],
    ['delete-on-no-messages', 'holds a message', 'alone', false],
    ['delete-on-no-messages', 'empty', 'with another receiver', true],
    ['delete-on-no-links-or-messages', 'empty', 'alone', true],
    ['delete-on-no-links-or-messages', 'empty', 'with another receiver', false],
  ])('%s, %s, %s: it goes: %s', async (policy, fill, company, goes) => {
    const peer = await Amqp10Peer.openSession(port);
    const properties = new AmqpMap([[symbol('lifetime-policy'), new Described(`amqp:${policy}:list`, [])]]);
    const { source } = await peer.receiver(0, { is: 'source', dynamic: true, dynamicNodeProperties: properties });
    const address = (source as Composite & { is: 'source' }).address as string;
    if (company !== 'alone') await peer.receiver(1, toSource(address));
    if (fill !== 'empty') {
      await peer.sender(2, address);
      await peer.publish(2, data('x'));
      peer.send('detach', { handle: 2, closed: true });
      await peer.expect('detach');
    }
    peer.send('detach', { handle: 0, closed: true });
    const conditions = [(await peer.detached()).condition];
    if (goes && company !== 'alone') conditions.push((await peer.detached()).condition);
    expect(conditions.filter((each) => each !== '')).toEqual(conditions.length > 1 ? ['amqp:resource-deleted'] : []);
    const { status } = await peer.manage('GET', address);
    expect(status).toBe(goes ? '404' : '200');
    peer.destroy();
  });

  test('all go with their connection', async () => {
    const peer = await Amqp10Peer.openSession(port);
    const properties = new AmqpMap([[symbol('lifetime-policy'), new Described('amqp:delete-on-no-messages:list', [])]]);
    const { source } = await peer.receiver(0, { is: 'source', dynamic: true, dynamicNodeProperties: properties });
    const address = (source as Composite & { is: 'source' }).address as string;
    peer.send('close', {});
    await peer.expect('close');
    await peer.end();
    const other = await Amqp10Peer.openSession(port);
    expect((await other.manage('GET', address)).status).toBe('404');
    other.destroy();
  });
});

describe('subscriptions', () => {
  const durable = (address: string, values: Partial<Values<'source'>> = {}): Composite =>
    toSource(address, { durable: 2, expiryPolicy: 'never', ...values });

  async function publish(topic: string, ...bodies: string[]): Promise<void> {
    const peer = await Amqp10Peer.openSession(port, { containerId: 'publisher' });
    await peer.sender(0, `/topic/${topic}`);
    for (const body of bodies) await peer.publish(0, data(body));
    peer.destroy();
  }

  test('[1.0 §3.5.3-2] a durable one outlives link and connection, under container and link name', async () => {
    const first = await Amqp10Peer.openSession(port, { containerId: 'jms-client' });
    await first.receiver(0, durable('/topic/durable.a'), 0, { name: 'sub' });
    first.send('detach', { handle: 0 });
    await first.expect('detach');
    first.destroy();
    await publish('durable.a', 'while away');
    const second = await Amqp10Peer.openSession(port, { containerId: 'jms-client' });
    await second.receiver(0, durable('/topic/durable.a'), 1, { name: 'sub' });
    expect(bodyOf((await second.message()).octets)).toBe('while away');
    second.destroy();
  });

  test('unsubscribing: attached without source, and closed', async () => {
    const peer = await Amqp10Peer.openSession(port, { containerId: 'jms-unsub' });
    await peer.receiver(0, durable('/topic/unsub'), 0, { name: 'sub' });
    peer.send('detach', { handle: 0 });
    await peer.expect('detach');
    peer.send('attach', { name: 'sub', handle: 1, role: true });
    expect((await peer.expect('attach')).source).toMatchObject({ is: 'source', address: '/exchanges/amq.topic/unsub' });
    peer.send('detach', { handle: 1, closed: true });
    expect((await peer.expect('detach')).error).toBeUndefined();
    expect((await refused(peer, { name: 'sub', handle: 1, role: true })).condition).toBe('amqp:not-found');
    peer.destroy();
  });

  test('one that is in use is locked, and another topic under its name is another subscription', async () => {
    const peer = await Amqp10Peer.openSession(port, { containerId: 'jms-change' });
    await peer.receiver(0, durable('/topic/old'), 0, { name: 'sub' });
    const other = await Amqp10Peer.openSession(port, { containerId: 'jms-change' });
    const source = durable('/topic/new');
    expect((await refused(other, { name: 'sub', handle: 1, role: true, source })).condition).toBe(
      'amqp:resource-locked',
    );
    other.destroy();
    peer.send('close', {});
    await peer.expect('close');
    peer.destroy();
    await publish('old', 'nobody');
    const again = await Amqp10Peer.openSession(port, { containerId: 'jms-change' });
    await again.receiver(0, durable('/topic/new'), 5, { name: 'sub' });
    await publish('new', 'fresh');
    expect(bodyOf((await again.message()).octets)).toBe('fresh');
    again.destroy();
  });

  test('[JMS 2.0 §8.3.3] an idle one whose selector changed is another subscription, with the same it goes on', async () => {
    const selecting = (selector: string | null) =>
      durable(
        '/topic/reselected',
        selector === null
          ? {}
          : {
              filter: new AmqpMap([
                [symbol('s'), new Described('apache.org:selector-filter:string', selector)] as [Any, Any],
              ]),
            },
      );
    const publisher = await Amqp10Peer.openSession(port);
    await publisher.sender(0, '/topic/reselected');
    const send = (color: string) => publisher.publish(0, Buffer.concat([section(0x74, mapOf({ color })), data(color)]));
    const receive = async (selector: string | null, published: string): Promise<unknown> => {
      const peer = await Amqp10Peer.openSession(port, { containerId: 'jms-reselect' });
      await peer.receiver(0, selecting(selector), 1, { name: 'sub' });
      await send(published);
      const body = bodyOf((await peer.message()).octets);
      peer.send('close', {});
      await peer.expect('close');
      peer.destroy();
      return body;
    };
    expect(await receive("color <> 'blue'", 'first')).toBe('first'); // it is not settled, and comes back
    expect(await receive("color <> 'blue'", 'second')).toBe('first');
    expect(await receive("color <> 'green'", 'third')).toBe('third');
    expect(await receive(null, 'fourth')).toBe('fourth');
    publisher.destroy();
  });

  test.each<[string, readonly string[], readonly [string, string], readonly [string, string]]>([
    ['shared: consumers of one container take turns', ['topic', 'shared'], ['c1', 'group'], ['c1', 'group|2']],
    [
      'shared and global: consumers of any container do',
      ['topic', 'shared', 'global'],
      ['c1', 'all|global'],
      ['c2', 'all|global2'],
    ],
  ])('%s', async (_name, capabilities, one, two) => {
    const [first, second] = await Promise.all(
      [one, two].map(async ([containerId, name]) => {
        const peer = await Amqp10Peer.openSession(port, { containerId });
        await peer.receiver(0, toSource(`shared.${capabilities.length}`, { capabilities }), 10, { name });
        return peer;
      }),
    );
    const publisher = await Amqp10Peer.openSession(port);
    await publisher.sender(0, `/topic/shared.${capabilities.length}`);
    await publisher.publish(0, data('1'));
    await publisher.publish(0, data('2'));
    const got = await Promise.all([first!, second!].map(async (peer) => bodyOf((await peer.message()).octets)));
    expect(got.sort()).toEqual(['1', '2']);
    for (const peer of [first!, second!, publisher]) peer.destroy();
  });

  test('shared with a selector: what it leaves out is nobody’s, and another selector is locked out', async () => {
    const selecting = (color: string) => ({
      capabilities: ['topic', 'shared'],
      durable: 2,
      expiryPolicy: 'never',
      filter: new AmqpMap([
        [symbol('s'), new Described('apache.org:selector-filter:string', `color = '${color}'`)] as [Any, Any],
      ]),
    });
    const peer = await Amqp10Peer.openSession(port, { containerId: 'selects' });
    await peer.receiver(0, toSource('selected', selecting('red')), 10, { name: 'sub' });
    await peer.receiver(1, toSource('selected', selecting('red')), 10, { name: 'sub|2' });
    const source = toSource('selected', selecting('blue'));
    expect((await refused(peer, { name: 'sub|3', handle: 2, role: true, source })).condition).toBe(
      'amqp:resource-locked',
    );
    const publisher = await Amqp10Peer.openSession(port);
    await publisher.sender(0, '/topic/selected');
    for (const color of ['blue', 'red', 'blue']) {
      await publisher.publish(0, Buffer.concat([section(0x74, mapOf({ color })), data(color)]));
    }
    const { transfer, octets } = await peer.message();
    expect(bodyOf(octets)).toBe('red');
    peer.settle(transfer.deliveryId as number, accepted);
    const queue = (await peer.manage('GET', '/queues/selects.sub')).body as AmqpMap;
    expect(queue.get('message_count')).toEqual({ type: 'ulong', value: 0n });
    for (const each of [publisher, peer]) each.destroy();
  });

  test('with a time-out it outlives its links for so long', async () => {
    const peer = await Amqp10Peer.openSession(port, { containerId: 'timed' });
    const source = toSource('/topic/timed', { durable: 2, expiryPolicy: 'link-detach', timeout: 90 });
    await peer.receiver(0, source, 0, { name: 'sub' });
    peer.send('detach', { handle: 0, closed: false });
    await peer.expect('detach');
    const queue = (await peer.manage('GET', '/queues/timed.sub')).body as AmqpMap;
    expect([queue.get('durable'), queue.get('consumer_count')]).toEqual([true, uint(0)]);
    expect((queue.get('arguments') as AmqpMap).get('x-expires')).toEqual({ type: 'long', value: 90_000n });
    await peer.receiver(0, source, 0, { name: 'sub' });
    peer.send('detach', { handle: 0, closed: true });
    await peer.expect('detach');
    expect((await peer.manage('GET', '/queues/timed.sub')).status).toBe('404');
    peer.destroy();
  });

  test('one that is not durable goes with its link', async () => {
    const peer = await Amqp10Peer.openSession(port);
    await peer.receiver(0, '/topic/fleeting');
    await peer.sender(1, '/topic/fleeting');
    expect(await peer.publish(1, data('x'))).toEqual(accepted);
    peer.send('detach', { handle: 0, closed: true });
    await peer.expect('detach');
    expect(await peer.publish(1, data('x'))).toEqual({ is: 'released' });
    peer.destroy();
  });
});

describe('filters', () => {
  const filtered = (pairs: [Any, Any][]) => ({ filter: new AmqpMap(pairs) });
  const withNumber = (n: number, body: string) =>
    Buffer.concat([section(0x74, mapOf({ n: { type: 'int', value: n } })), data(body)]);
  let names = 0;

  test.each<[string, [Any, Any]]>([
    [
      'by the symbol of its descriptor',
      [symbol('jms-selector'), new Described('apache.org:selector-filter:string', 'n > 1')],
    ],
    ['by its code', [symbol('f'), new Described(0x468c_0000_0004n, 'n > 1')]],
    ['by its key alone', [symbol('apache.org:selector-filter:string'), 'n > 1']],
    [
      'of application properties',
      [symbol('f'), new Described('amqp:application-properties-filter', mapOf({ n: { type: 'long', value: 2n } }))],
    ],
    ['of SQL', [symbol('sql-filter'), new Described('amqp:sql-filter', 'n % 2 = 0 AND h.priority < 5')]],
    ['of SQL, by its code', [symbol('sql-filter'), new Described(0x120n, 'application_properties.n != 1')]],
  ])('[1.0 §3.5.3-4] a selector known %s', async (_name, pair) => {
    const queue = `filters-${++names}`;
    const peer = await Amqp10Peer.openSession(port);
    await peer.sender(0, queue);
    const attach = await peer.receiver(1, toSource(queue, filtered([pair, [symbol('unknown'), 'x']])), 5);
    const shown = (attach.source as Composite & { is: 'source' }).filter;
    expect(shown?.pairs.map(([key]) => key)).toEqual([pair[0]]);
    peer.transfer(0, withNumber(1, 'no'), { settled: true });
    peer.transfer(0, withNumber(2, 'yes'), { settled: true });
    expect(bodyOf((await peer.message()).octets)).toBe('yes');
    peer.destroy();
  });

  test('of properties, with a prefix and a suffix', async () => {
    const peer = await Amqp10Peer.openSession(port);
    await peer.sender(0, 'filters-properties');
    const filter = new Described(
      'amqp:properties-filter',
      new AmqpMap([
        [symbol('subject'), '&p:order.'],
        [symbol('group-id'), '&s:-eu'],
      ]),
    );
    await peer.receiver(1, toSource('filters-properties', filtered([[symbol('f'), filter]])), 5);
    const message = (subject: string, group: string) =>
      Buffer.concat([
        section(0x73, [null, null, null, subject, null, null, null, null, null, null, group]),
        data(subject),
      ]);
    peer.transfer(0, message('invoice.1', 'x-eu'), { settled: true });
    peer.transfer(0, message('order.1', 'x-us'), { settled: true });
    peer.transfer(0, message('order.2', 'x-eu'), { settled: true });
    expect(bodyOf((await peer.message()).octets)).toBe('order.2');
    peer.destroy();
  });

  test.each<[string, Described]>([
    ['SQL', new Described('amqp:sql-filter', 'n >')],
    ['SQL of an unknown field', new Described('amqp:sql-filter', 'properties.colour = 1')],
    ['properties', new Described('amqp:properties-filter', new AmqpMap([[symbol('colour'), 'red']]))],
    ['application properties', new Described('amqp:application-properties-filter', 'red')],
  ])(
    'a wrong filter expression (%s) is left out of the answer, and passes everything [RabbitMQ]',
    async (_, filter) => {
      const queue = `filters-${++names}`;
      const peer = await Amqp10Peer.openSession(port);
      await peer.sender(0, queue);
      const attach = await peer.receiver(1, toSource(queue, filtered([[symbol('f'), filter]])), 5);
      expect((attach.source as Composite & { is: 'source' }).filter).toBeUndefined();
      peer.transfer(0, data('all'), { settled: true });
      expect(bodyOf((await peer.message()).octets)).toBe('all');
      peer.destroy();
    },
  );

  test('no-local: a subscriber does not hear its own connection', async () => {
    const peer = await Amqp10Peer.openSession(port);
    const filter = new Described('apache.org:no-local-filter:list', []);
    await peer.receiver(1, toSource('/topic/no-local', filtered([[symbol('no-local'), filter]])), 5);
    await peer.sender(0, '/topic/no-local');
    await peer.publish(0, data('own'));
    const other = await Amqp10Peer.openSession(port);
    await other.sender(0, '/topic/no-local');
    await other.publish(0, data('foreign'));
    expect(bodyOf((await peer.message()).octets)).toBe('foreign');
    for (const each of [other, peer]) each.destroy();
  });

  test('a selector that is none is refused', async () => {
    const peer = await Amqp10Peer.openSession(port);
    const source = toSource(
      'filters-wrong',
      filtered([[symbol('f'), new Described('apache.org:selector-filter:string', 'n >')]]),
    );
    expect((await refused(peer, { name: 'f', handle: 0, role: true, source })).condition).toBe('amqp:invalid-field');
    peer.destroy();
  });
});

test('[1.0 §3.5.6-1] a browser sees copies, and takes nothing', async () => {
  const peer = await Amqp10Peer.openSession(port);
  await peer.sender(0, 'browsed');
  for (let i = 0; i < 3; i++) await peer.publish(0, data(String(i)));
  await peer.receiver(1, toSource('browsed', { distributionMode: 'copy' }));
  peer.credit(1, 10, { drain: true });
  const seen: string[] = [];
  for (let i = 0; i < 3; i++) seen.push(bodyOf((await peer.message()).octets));
  expect(await peer.expect('flow')).toMatchObject({ handle: 1, linkCredit: 0, drain: true });
  peer.settle(0, accepted, { last: 2 });
  await peer.receiver(2, 'browsed', 3);
  for (let i = 0; i < 3; i++) seen.push(bodyOf((await peer.message()).octets));
  expect(seen).toEqual(['0', '1', '2', '0', '1', '2']);
  peer.destroy();
});

test('a browser is shown what comes later, as its credit allows, and what is taken from others is not', async () => {
  const peer = await Amqp10Peer.openSession(port);
  await peer.sender(0, 'watched');
  await peer.receiver(1, toSource('watched', { distributionMode: 'copy' }), 2);
  const shown = async (): Promise<string> => bodyOf((await peer.message()).octets);
  for (const body of ['a', 'b', 'c']) {
    await peer.publish(0, data(body));
    if (body !== 'c') expect(await shown()).toBe(body);
  }
  peer.credit(1, 10, { deliveryCount: 2 });
  expect(await shown()).toBe('c');
  await peer.receiver(2, 'watched', 10);
  for (const body of ['a', 'b', 'c']) expect(await shown()).toBe(body);
  const other = await Amqp10Peer.openSession(port);
  await other.sender(0, 'watched');
  await other.publish(0, data('d')); // straight to the consumer
  expect(await shown()).toBe('d');
  peer.send('detach', { handle: 1, closed: true });
  await peer.expect('detach');
  other.destroy();
  peer.destroy();
});

describe('management over AMQP', () => {
  test('a queue: declared, again, differently, described, purged, deleted', async () => {
    const peer = await Amqp10Peer.openSession(port);
    const args = mapOf({ 'x-max-length': uint(5) });
    const made = await peer.manage('PUT', '/queues/managed', mapOf({ durable: true, arguments: args }));
    expect(made.status).toBe('201');
    const body = made.body as AmqpMap;
    expect([body.get('name'), body.get('vhost'), body.get('durable'), body.get('type')]).toEqual([
      'managed',
      '/',
      true,
      'classic',
    ]);
    expect((await peer.manage('PUT', '/queues/managed', mapOf({ arguments: args }))).status).toBe('200');
    const conflict = await peer.manage('PUT', '/queues/managed', mapOf({ durable: false, arguments: args }));
    expect(conflict).toMatchObject({ status: '409', body: expect.stringContaining("inequivalent arg 'durable'") });
    await peer.sender(0, '/queues/managed');
    await peer.publish(0, data('x'));
    expect(((await peer.manage('GET', '/queues/managed')).body as AmqpMap).get('message_count')).toEqual({
      type: 'ulong',
      value: 1n,
    });
    const purged = await peer.manage('DELETE', '/queues/managed/messages');
    expect((purged.body as AmqpMap).get('message_count')).toEqual({ type: 'ulong', value: 1n });
    expect((await peer.manage('DELETE', '/queues/managed')).status).toBe('200');
    expect((await peer.manage('GET', '/queues/managed')).status).toBe('404');
    peer.destroy();
  });

  test('exchanges and bindings, with arguments', async () => {
    const peer = await Amqp10Peer.openSession(port);
    await peer.manage('PUT', '/queues/bound%2Fq', mapOf({}));
    expect(await peer.manage('PUT', '/exchanges/managed-x', mapOf({ type: 'headers' }))).toEqual({
      status: '204',
      body: null,
    });
    const binding = {
      source: 'managed-x',
      destination_queue: 'bound/q',
      binding_key: 'k k',
      arguments: mapOf({ a: 'b' }),
    };
    expect((await peer.manage('POST', '/bindings', mapOf(binding))).status).toBe('204');
    const found = await peer.manage('GET', '/bindings?src=managed-x&dstq=bound%2Fq&key=k%20k');
    const [first] = found.body as AmqpMap[];
    expect([first?.get('source'), first?.get('destination_queue'), first?.get('binding_key')]).toEqual([
      'managed-x',
      'bound/q',
      'k k',
    ]);
    const location = first?.get('location') as string;
    expect(location).toMatch(/^\/bindings\/src=managed-x;dstq=bound%2Fq;key=k%20k;args=.+/);
    expect((await peer.manage('DELETE', location)).status).toBe('204');
    expect((await peer.manage('GET', '/bindings?src=managed-x&dstq=bound%2Fq&key=k%20k')).body).toEqual([]);
    expect((await peer.manage('DELETE', '/exchanges/managed-x')).status).toBe('204');
    peer.destroy();
  });

  test.each<[string, string, string, Any, string]>([
    ['a reserved name', 'PUT', '/queues/amq.mine', mapOf({}), '403'],
    ['an empty name', 'PUT', '/queues/', mapOf({}), '400'],
    ['an unknown property', 'PUT', '/queues/q', mapOf({ colour: 'red' }), '400'],
    ['a line feed in a name', 'PUT', '/queues/a%0Ab', mapOf({}), '400'],
    ['the default exchange', 'DELETE', '/exchanges/', null, '403'],
    ['an exchange type that is not there', 'PUT', '/exchanges/x', mapOf({ type: 'none' }), '400'],
    [
      'a binding to nowhere',
      'POST',
      '/bindings',
      mapOf({ source: 'amq.direct', destination_queue: 'none', binding_key: '' }),
      '404',
    ],
    ['a resource that is not there', 'GET', '/nothing', null, '404'],
  ])('%s', async (_name, method, path, body, status) => {
    const peer = await Amqp10Peer.openSession(port);
    expect((await peer.manage(method, path, body)).status).toBe(status);
    peer.destroy();
  });
});

describe('transactions', () => {
  async function declare(peer: Amqp10Peer): Promise<Buffer> {
    const state = await peer.publish(0, section(0x77, new Described(0x31n, [null])));
    expect(state.is).toBe('declared');
    return (state as Composite & { is: 'declared' }).txnId;
  }
  const discharge = (txnId: Buffer, fail: boolean) => section(0x77, new Described(0x32n, [txnId, fail]));

  async function opened(queue: string): Promise<Amqp10Peer> {
    const peer = await Amqp10Peer.openSession(port);
    const { target } = await peer.sender(0, { is: 'coordinator', capabilities: ['amqp:local-transactions'] });
    expect(target).toEqual({ is: 'coordinator', capabilities: ['amqp:local-transactions'] });
    await peer.sender(1, queue);
    return peer;
  }

  const count = async (peer: Amqp10Peer, queue: string): Promise<unknown> =>
    ((await peer.manage('GET', `/queues/${queue}`)).body as AmqpMap).get('message_count');

  test('[1.0 §4.2-1] [1.0 §4.3-1] [1.0 §4.4.1-1] what is published appears with the discharge, or never', async () => {
    const peer = await opened('txn-publish');
    for (const [fail, expected] of [
      [true, 0n],
      [false, 2n],
    ] as const) {
      const txnId = await declare(peer);
      const state: Composite = { is: 'transactionalState', txnId };
      for (const body of ['a', 'b']) {
        expect(await peer.publish(1, data(body), { state })).toMatchObject({
          is: 'transactionalState',
          outcome: accepted,
        });
      }
      expect(await count(peer, 'txn-publish')).toEqual({ type: 'ulong', value: 0n });
      expect(await peer.publish(0, discharge(txnId, fail))).toEqual(accepted);
      expect(await count(peer, 'txn-publish')).toEqual({ type: 'ulong', value: expected });
    }
    peer.destroy();
  });

  test('[1.0 §4.4.2-1] what is settled comes again after a rollback, and not after a commit', async () => {
    const peer = await opened('txn-settle');
    await peer.publish(1, data('x'));
    await peer.receiver(2, 'txn-settle', 10);
    for (const fail of [true, false]) {
      const { transfer, octets } = await peer.message();
      expect(bodyOf(octets)).toBe('x');
      const txnId = await declare(peer);
      peer.settle(transfer.deliveryId!, { is: 'transactionalState', txnId, outcome: accepted });
      peer.transfer(0, discharge(txnId, fail), { settled: true });
    }
    peer.transfer(1, data('y'), { settled: true });
    expect(bodyOf((await peer.message()).octets)).toBe('y');
    peer.destroy();
  });

  test('[1.0 §4.5.8-1] a transaction that is not there is rejected', async () => {
    const peer = await opened('txn-unknown');
    expect(await peer.publish(0, discharge(Buffer.from('none'), false))).toMatchObject({
      is: 'rejected',
      error: { condition: 'amqp:transaction:unknown-id' },
    });
    peer.destroy();
  });

  test('[1.0 §4.3-1] a queue that refuses rolls all of it back', async () => {
    const peer = await opened('txn-other');
    await peer.manage(
      'PUT',
      '/queues/txn-full',
      mapOf({ arguments: mapOf({ 'x-max-length': uint(1), 'x-overflow': 'reject-publish' }) }),
    );
    await peer.sender(3, '/queues/txn-full');
    const txnId = await declare(peer);
    const state: Composite = { is: 'transactionalState', txnId };
    await peer.publish(1, data('a'), { state });
    await peer.publish(3, data('b'), { state });
    await peer.publish(3, data('c'), { state });
    expect(await peer.publish(0, discharge(txnId, false))).toMatchObject({
      is: 'rejected',
      error: { condition: 'amqp:transaction:rollback' },
    });
    expect(await count(peer, 'txn-other')).toEqual({ type: 'ulong', value: 0n });
    peer.destroy();
  });

  test('[1.0 §4.5.2-1] a global id is not taken', async () => {
    const peer = await opened('txn-global');
    expect(await peer.publish(0, section(0x77, new Described(0x31n, [Buffer.from('global')])))).toMatchObject({
      is: 'rejected',
      error: { condition: 'amqp:not-implemented' },
    });
    peer.destroy();
  });

  test('[1.0 §4.3-3] a controller that does not take rejected is told by a detach', async () => {
    const peer = await Amqp10Peer.openSession(port);
    const source = toSource('controller', { outcomes: ['amqp:accepted:list'] });
    await peer.sender(0, { is: 'coordinator' }, { source });
    peer.transfer(0, discharge(Buffer.from('none'), false));
    expect(await peer.detached()).toMatchObject({ condition: 'amqp:transaction:unknown-id', closed: true });
    peer.destroy();
  });

  describe('[§4.4.3] transactional acquisition', () => {
    const within = (txnId: Buffer | null) => ({ properties: new AmqpMap([[symbol('txn-id'), txnId]]) });

    test('[1.0 §4.4.3-1] what was acquired and is not settled is the queue’s again after a rollback, and stays after a commit', async () => {
      const peer = await opened('txn-acquire');
      await peer.publish(1, data('x'));
      await peer.receiver(2, 'txn-acquire');
      const undone = await declare(peer);
      peer.credit(2, 1, within(undone));
      const first = await peer.message();
      expect(first.transfer.state).toEqual({ is: 'transactionalState', txnId: undone });
      peer.transfer(0, discharge(undone, true));
      expect(await peer.expect('disposition')).toMatchObject({
        role: false,
        first: first.transfer.deliveryId,
        settled: true,
        state: { is: 'released' },
      });
      expect((await peer.expect('disposition')).state).toEqual(accepted);

      const done = await declare(peer);
      peer.credit(2, 1, { deliveryCount: 1, ...within(done) });
      const second = await peer.message();
      expect(second.transfer.state).toEqual({ is: 'transactionalState', txnId: done });
      expect(await peer.publish(0, discharge(done, false))).toEqual(accepted);
      peer.settle(second.transfer.deliveryId!, accepted);
      expect(await count(peer, 'txn-acquire')).toEqual({ type: 'ulong', value: 0n });
      peer.destroy();
    });

    test('an outcome for it is the transaction’s, said so or not', async () => {
      const peer = await opened('txn-retire');
      for (const body of ['a', 'b']) await peer.publish(1, data(body));
      await peer.receiver(2, 'txn-retire');
      for (const fail of [true, false]) {
        const txnId = await declare(peer);
        peer.credit(2, 2, { deliveryCount: fail ? 0 : 2, ...within(txnId) });
        const [a, b] = [await peer.message(), await peer.message()];
        expect([bodyOf(a.octets), bodyOf(b.octets)]).toEqual(['a', 'b']);
        peer.settle(a.transfer.deliveryId!, accepted);
        peer.settle(b.transfer.deliveryId!, { is: 'transactionalState', txnId, outcome: accepted });
        expect(await peer.publish(0, discharge(txnId, fail))).toEqual(accepted);
        expect(await count(peer, 'txn-retire')).toEqual({ type: 'ulong', value: fail ? 2n : 0n });
      }
      peer.destroy();
    });

    test('what is sent settled comes again after a rollback', async () => {
      const peer = await opened('txn-settled');
      await peer.publish(1, data('x'));
      await peer.receiver(2, 'txn-settled', 0, { sndSettleMode: 1 });
      for (const fail of [true, false]) {
        const txnId = await declare(peer);
        peer.credit(2, 1, { deliveryCount: fail ? 0 : 1, ...within(txnId) });
        expect((await peer.message()).transfer).toMatchObject({ settled: true, state: { txnId } });
        expect(await peer.publish(0, discharge(txnId, fail))).toEqual(accepted);
        expect(await count(peer, 'txn-settled')).toEqual({ type: 'ulong', value: fail ? 1n : 0n });
      }
      peer.destroy();
    });

    test('[1.0 §4.4.3-2] the discharge ends it, and the credit that is left acquires outside; so does a flow without txn-id', async () => {
      const peer = await opened('txn-cleared');
      await peer.receiver(2, 'txn-cleared');
      for (const [i, end] of ['discharge', 'flow'].entries()) {
        const txnId = await declare(peer);
        peer.credit(2, 1, { deliveryCount: i, ...within(txnId) });
        if (end === 'flow') peer.credit(2, 1, { deliveryCount: i });
        else expect(await peer.publish(0, discharge(txnId, false))).toEqual(accepted);
        peer.transfer(1, data(end), { settled: true });
        const { transfer, octets } = await peer.message();
        expect([bodyOf(octets), transfer.state]).toEqual([end, undefined]);
        peer.settle(transfer.deliveryId!, accepted);
      }
      peer.destroy();
    });

    test('a transaction that is not there ends the session, a browser acquires nothing', async () => {
      const peer = await opened('txn-nothing');
      await peer.receiver(2, toSource('txn-nothing', { distributionMode: 'copy' }));
      const txnId = await declare(peer);
      peer.credit(2, 1, within(txnId));
      expect((await peer.detached()).condition).toBe('amqp:not-implemented');
      await peer.receiver(3, 'txn-nothing');
      peer.credit(3, 1, within(Buffer.from('none')));
      expect((await peer.expect('end')).error?.condition).toBe('amqp:transaction:unknown-id');
      peer.destroy();
    });

    test('a controller that goes away has undone it', async () => {
      const peer = await opened('txn-lost');
      await peer.publish(1, data('x'));
      await peer.receiver(2, 'txn-lost');
      peer.credit(2, 1, within(await declare(peer)));
      await peer.message();
      peer.send('detach', { handle: 0, closed: true });
      expect(await peer.expect('disposition')).toMatchObject({ role: false, settled: true, state: { is: 'released' } });
      await peer.expect('detach');
      expect(await count(peer, 'txn-lost')).toEqual({ type: 'ulong', value: 1n });
      peer.destroy();
    });
  });

  test('[1.0 §4.3-2] a controller that goes away has rolled back', async () => {
    const peer = await opened('txn-gone');
    const txnId = await declare(peer);
    await peer.publish(1, data('a'), { state: { is: 'transactionalState', txnId } });
    peer.send('detach', { handle: 0, closed: true });
    await peer.expect('detach');
    expect(await count(peer, 'txn-gone')).toEqual({ type: 'ulong', value: 0n });
    peer.destroy();
  });
});

describe('link resumption', () => {
  const source: Composite = toSource('resumed-out', { timeout: 60, expiryPolicy: 'never' });

  test('[1.0 §2.6.13-1] [1.0 §2.6.4-1] a receiver that has an outcome settles with it, and what it does not know comes anew', async () => {
    const containerId = 'resuming-receiver';
    const first = await Amqp10Peer.openSession(port, { containerId });
    await first.sender(0, 'resumed-out');
    await first.receiver(1, source, 5, { name: 'r' });
    for (const body of ['done', 'unknown']) first.transfer(0, data(body), { settled: true });
    const tags = [(await first.message()).transfer.deliveryTag!, (await first.message()).transfer.deliveryTag!];
    first.destroy();
    const second = await Amqp10Peer.openSession(port, { containerId });
    const unsettled = new AmqpMap([[tags[0]!, new Described(0x24n, [])]]);
    const attach = await second.receiver(1, source, 0, { name: 'r', unsettled });
    expect(attach.unsettled?.pairs.map(([tag]) => (tag as Buffer).toString('hex'))).toEqual(
      tags.map((tag) => tag.toString('hex')),
    );
    expect(await second.expect('transfer')).toMatchObject({
      deliveryTag: tags[0],
      resume: true,
      settled: true,
      state: accepted,
    });
    second.credit(1, 5);
    expect(bodyOf((await second.message()).octets)).toBe('unknown');
    second.destroy();
  });

  test('[1.0 §2.6.13-1] a sender learns what was received, and resuming does not publish twice', async () => {
    const containerId = 'resuming-sender';
    const target: Composite = { is: 'target', address: 'resumed-in', timeout: 60, expiryPolicy: 'never' };
    const first = await Amqp10Peer.openSession(port, { containerId });
    await first.sender(0, target, { name: 's', rcvSettleMode: 1 });
    const deliveryTag = Buffer.from('once');
    first.transfer(0, data('x'), { deliveryTag });
    expect(await first.expect('disposition')).toMatchObject({ settled: false, state: accepted });
    first.destroy();
    const second = await Amqp10Peer.openSession(port, { containerId });
    const unsettled = new AmqpMap([[deliveryTag, null]]);
    const attach = await second.sender(0, target, { name: 's', rcvSettleMode: 1, unsettled });
    expect(attach.unsettled?.pairs).toEqual([[deliveryTag, new Described(0x24n, [])]]);
    second.transfer(0, data('x'), { deliveryTag, resume: true });
    expect(await second.expect('disposition')).toMatchObject({ settled: true, state: accepted });
    const { body } = await second.manage('GET', '/queues/resumed-in');
    expect((body as AmqpMap).get('message_count')).toEqual({ type: 'ulong', value: 1n });
    second.destroy();
  });
});

describe('link resumption, in part', () => {
  test('[1.0 §2.7.5-4] a resumed delivery that is not known is ignored', async () => {
    const peer = await Amqp10Peer.openSession(port);
    await peer.sender(0, 'resumed-unknown');
    peer.transfer(0, data('lost'), { resume: true });
    peer.transfer(0, data('new'));
    expect(await peer.expect('disposition')).toMatchObject({ first: 1, state: accepted });
    const { body } = await peer.manage('GET', '/queues/resumed-unknown');
    expect((body as AmqpMap).get('message_count')).toEqual({ type: 'ulong', value: 1n });
    peer.destroy();
  });

  const many = 40;
  const done = new Described(0x24n, []);
  const mapOfTags = (states: ReadonlyMap<string, Any>) =>
    new AmqpMap([...states].map(([tag, state]) => [Buffer.from(tag, 'latin1'), state]));

  /** Attaches as what the role says, on handle 1. */
  function attach(role: 'sender' | 'receiver', peer: Amqp10Peer, name: string, unsettled?: AmqpMap) {
    const lasting = { address: name, timeout: 60, expiryPolicy: 'never' };
    return role === 'sender'
      ? peer.sender(1, { is: 'target', ...lasting }, { name, rcvSettleMode: 1, unsettled })
      : peer.receiver(1, { is: 'source', ...lasting }, 0, { name, unsettled });
  }

  /** A link that is lost with many deliveries unsettled. @returns what its client has of them */
  async function lose(role: 'sender' | 'receiver', name: string): Promise<Map<string, Any>> {
    const left = new Map<string, Any>();
    const peer = await Amqp10Peer.openSession(port, { containerId: name });
    if (role === 'receiver') {
      await peer.sender(0, name);
      for (let i = 0; i < many; i++) peer.transfer(0, data('x'), { settled: true });
    }
    await attach(role, peer, name);
    if (role === 'sender') {
      for (let i = 0; i < many; i++) left.set(`tag-${peer.transfer(1, data('x'))}`, null);
      for (let answered = 0; answered < many; ) {
        const { first, last = first } = await peer.expect('disposition');
        answered = last + 1;
      }
    } else {
      peer.credit(1, many);
      for (let i = 0; i < many; i++) left.set((await peer.message()).transfer.deliveryTag!.toString('latin1'), done);
    }
    peer.destroy();
    return left;
  }

  test.each(['sender', 'receiver'] as const)(
    '[1.0 §2.7.3-3] a %s is told in parts what one frame has no room for',
    async (role) => {
      const name = `resuming-${role}-in-parts`;
      let left = await lose(role, name);
      let rounds = 0;
      for (let incomplete = true; incomplete; rounds++) {
        const peer = await Amqp10Peer.openSession(port, { containerId: name, maxFrameSize: 512 });
        const answer = await attach(role, peer, name, mapOfTags(left));
        incomplete = answer.incompleteUnsettled === true;
        const said = answer.unsettled!.pairs.map(([tag]) => (tag as Buffer).toString('latin1'));
        for (const tag of said) {
          const deliveryTag = Buffer.from(tag, 'latin1');
          if (role === 'receiver') {
            expect(await peer.expect('transfer')).toMatchObject({ deliveryTag, resume: true, state: accepted });
            continue;
          }
          peer.transfer(1, data('x'), { deliveryTag, resume: true });
          expect(await peer.expect('disposition')).toMatchObject({ settled: true, state: accepted });
        }
        left = new Map([...left].filter(([tag]) => !said.includes(tag)));
        peer.destroy();
      }
      expect(rounds).toBeGreaterThan(2);
      expect(left.size).toBe(0);
    },
  );

  test('[1.0 §2.7.3-3] who was told a part sends nothing new before the rest', async () => {
    const left = await lose('sender', 'resuming-too-early');
    const peer = await Amqp10Peer.openSession(port, { containerId: 'resuming-too-early', maxFrameSize: 512 });
    await attach('sender', peer, 'resuming-too-early', mapOfTags(left));
    peer.transfer(1, data('new'));
    expect((await peer.detached()).condition).toBe('amqp:illegal-state');
    peer.destroy();
  });

  test('[1.0 §2.7.3-3] who does not say all that is unsettled gets what it said, nothing new, and the rest when it is said', async () => {
    const containerId = 'resuming-in-part';
    const source = toSource('resumed-part', { timeout: 60, expiryPolicy: 'never' });
    const first = await Amqp10Peer.openSession(port, { containerId });
    await first.sender(0, 'resumed-part');
    await first.receiver(1, source, 2, { name: 'r' });
    for (const body of ['a', 'b', 'new']) first.transfer(0, data(body), { settled: true });
    const tags = [(await first.message()).transfer.deliveryTag!, (await first.message()).transfer.deliveryTag!];
    first.destroy();
    const second = await Amqp10Peer.openSession(port, { containerId });
    const part = new AmqpMap([[tags[0]!, done]]);
    await second.receiver(1, source, 0, { name: 'r', unsettled: part, incompleteUnsettled: true });
    expect(await second.expect('transfer')).toMatchObject({ deliveryTag: tags[0], resume: true, state: accepted });
    second.credit(1, 5);
    second.send('detach', { handle: 1 });
    await second.expect('detach'); // and no transfer before it
    const rest = new AmqpMap([[tags[1]!, done]]);
    const attach = await second.receiver(1, source, 0, { name: 'r', unsettled: rest });
    expect(attach.unsettled?.pairs.map(([tag]) => tag)).toEqual([tags[1]]);
    expect(await second.expect('transfer')).toMatchObject({ deliveryTag: tags[1], resume: true, state: accepted });
    second.credit(1, 5);
    expect(bodyOf((await second.message()).octets)).toBe('new');
    second.destroy();
  });
});

test('0-9-1 and 1.0 share queues on one port', async () => {
  const amqp091 = await AmqpPeer.openChannel(port);
  await amqp091.declare('both', { durable: true });
  const peer = await Amqp10Peer.openSession(port);
  await peer.receiver(1, '/queues/both', 1);
  amqp091.publish(1, { exchange: '', routingKey: 'both' }, 'from 0-9-1');
  expect(bodyOf((await peer.message()).octets)).toBe('from 0-9-1');
  for (const each of [amqp091, peer]) each.destroy();
});

test('[1.0 §2.6.17-1] deliveries that a lost connection had go to others, not to its own other sessions', async () => {
  const peer = await Amqp10Peer.openSession(port);
  await peer.begin(1);
  await peer.sender(0, 'lost');
  const failing = toSource('lost', { defaultOutcome: { is: 'modified', deliveryFailed: true } });
  await peer.receiver(1, failing, 1);
  peer.transfer(0, data('x'), { settled: true });
  await peer.message();
  peer.send('attach', { name: 'second', handle: 0, role: true, source: failing }, 1);
  await peer.expect('attach');
  const flow = { nextIncomingId: 0, incomingWindow: 100, nextOutgoingId: 0, outgoingWindow: 100 };
  peer.send('flow', { ...flow, handle: 0, deliveryCount: 0, linkCredit: 5, echo: true }, 1);
  await peer.expect('flow');
  peer.destroy();
  const next = await Amqp10Peer.openSession(port);
  await next.receiver(0, 'lost', 1);
  const header = sectionsOf((await next.message()).octets).get(0x70) as Any[];
  expect(header[4]).toEqual(uint(1));
  next.destroy();
});
