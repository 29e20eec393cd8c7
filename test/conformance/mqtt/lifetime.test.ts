import { beforeEach, describe, expect, test } from 'vitest';
import { MqttHouse } from '../../support/mqtt-house.ts';
import type { MqttPeer } from '../../support/mqtt-peer.ts';
import { octets, packet, short, text } from '../../support/mqtt-wire.ts';

let house: MqttHouse;

beforeEach(async () => {
  house = await MqttHouse.open();
});

const lasting = { clientId: 'lasting', clean: false, properties: { sessionExpiryInterval: 100 } };
const will = { topic: 'will', payload: Buffer.from('gone'), qos: 1 as const, retain: false };

async function watch(filter: string): Promise<MqttPeer> {
  const { peer } = await house.connect();
  await peer.subscribe(filter, { qos: 2, rap: true });
  return peer;
}

describe.each([4, 5] as const)('version %i', (version) => {
  const none = version === 5 ? Buffer.from([0]) : Buffer.alloc(0);

  test('[MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.8.4-7] [MQTT-3.9.3-1] [MQTT-3.9.3-2] [MQTT-2.2.1-6] [3.1.1 MQTT-2.3.1-7] [3.1.1 MQTT-3.8.4-1] [3.1.1 MQTT-3.8.4-2] [3.1.1 MQTT-3.8.4-4] [3.1.1 MQTT-3.8.4-5] [3.1.1 MQTT-3.9.3-1] [3.1.1 MQTT-3.9.3-2] SUBACK has the packet id and a code for each filter, in their order', async () => {
    await house.addUser('some', 'x', { configure: '.*', write: '.*', read: '^(mqtt-.*|amq.topic)$' });
    const { peer } = await house.connect({ username: 'some', password: Buffer.from('x') }, version);
    const filters = [text('a'), Buffer.from([2]), text('$queue-of/q'), Buffer.from([1]), text('b'), Buffer.from([0])];
    peer.raw(packet(0x82, short(700), none, ...filters));
    const { messageId, granted } = await peer.nextOf('suback');
    expect([messageId, granted]).toEqual([700, [2, version === 5 ? 0x87 : 0x80, 0]]);
  });

  test('[MQTT-3.8.3-2] [MQTT-3.8.3-5] [MQTT-3.10.3-2] [3.1.1 MQTT-3.8.3-3] [3.1.1 MQTT-3.8.3-4] [3.1.1 MQTT-3.10.3-2] no filter is a protocol error, reserved options are malformed', async () => {
    for (const [bad, code] of [
      [packet(0x82, short(1), none), 0x82],
      [packet(0xa2, short(1), none), 0x82],
      [packet(0x82, short(1), none, text('a'), Buffer.from([3])), 0x81],
      [packet(0x82, short(1), none, text('a'), Buffer.from([0x40])), 0x81],
    ] as const) {
      const { peer } = await house.connect({}, version);
      peer.raw(bad);
      expect(await peer.end()).toMatchObject(version === 5 ? [{ cmd: 'disconnect', reasonCode: code }] : []);
    }
  });

  test('[MQTT-3.10.4-1] [MQTT-3.10.4-2] [MQTT-3.10.4-3] [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.10.4-6] [MQTT-3.11.3-1] [MQTT-3.11.3-2] [3.1.1 MQTT-3.10.4-1] [3.1.1 MQTT-3.10.4-2] [3.1.1 MQTT-3.10.4-3] [3.1.1 MQTT-3.10.4-4] [3.1.1 MQTT-3.10.4-5] [3.1.1 MQTT-3.10.4-6] UNSUBSCRIBE ends what is equal, and what is under way is completed', async () => {
    const { peer } = await house.connect({}, version);
    await peer.subscribe('a/+', { qos: 2 });
    const { peer: sender } = await house.connect();
    sender.publish('a/b', '1', { qos: 2, messageId: 1 });
    const { messageId } = await peer.nextOf('publish');
    peer.raw(packet(0xa2, short(9), none, text('a/b'), text('a/+')));
    const unsuback = await peer.nextOf('unsuback');
    expect(unsuback.messageId).toBe(9);
    if (version === 5) expect(unsuback.granted).toEqual([0x11, 0]);
    sender.publish('a/b', '2', { qos: 1, messageId: 2 });
    peer.send({ cmd: 'pubrec', messageId });
    expect(await peer.next()).toMatchObject({ cmd: 'pubrel', messageId });
    await peer.nothing();
  });

  test('[MQTT-3.8.4-3] [MQTT-3.8.4-4] [MQTT-3.8.4-8] [3.1.1 MQTT-3.8.4-3] [3.1.1 MQTT-3.8.4-6] the same filter replaces its subscription, and gets what is retained again', async () => {
    const { peer } = await house.connect({}, version);
    peer.publish('s', 'kept', { qos: 2, messageId: 1, retain: true });
    await peer.nextOf('pubrec');
    for (const qos of [2, 1, 0]) {
      await peer.subscribe('s', { qos });
      expect(await peer.nextOf('publish')).toMatchObject({ qos, retain: true });
    }
    peer.publish('s', 'new');
    expect(await peer.nextOf('publish')).toMatchObject({ qos: 0, retain: false });
    await peer.nothing();
  });

  test('[MQTT-3.3.4-2] [3.1.1 MQTT-3.3.5-1] overlapping subscriptions deliver at the highest QoS', async () => {
    const { peer } = await house.connect({}, version);
    await peer.subscribe('o/#', { qos: 2 });
    await peer.subscribe('o/+', { qos: 0 });
    const { peer: sender } = await house.connect();
    sender.publish('o/x', '', { qos: 2, messageId: 1 });
    expect(await peer.nextOf('publish')).toMatchObject({ qos: 2 });
    await peer.nothing();
  });

  test('[MQTT-4.7.2-1] [MQTT-4.7.1-1] [MQTT-4.7.1-2] [3.1.1 MQTT-4.7.2-1] [3.1.1 MQTT-4.7.1-2] [3.1.1 MQTT-4.7.1-3] # and + stand alone, and do not match a leading $', async () => {
    const { peer } = await house.connect({}, version);
    for (const filter of ['#', '+/x', '+']) await peer.subscribe(filter);
    const { peer: sender } = await house.connect();
    for (const topic of ['$x', '$x/x', '$x/y/z']) sender.publish(topic, '');
    await sender.nothing();
    await peer.nothing();
    for (const filter of ['a#', '#/a', 'a/b+', '+a', 'a/#/b']) {
      const other = (await house.connect({}, version)).peer;
      other.raw(packet(0x82, short(1), none, text(filter), Buffer.from([0])));
      if (version === 5) expect((await other.nextOf('suback')).granted).toEqual([0x8f]);
      else expect(await other.end()).toEqual([]);
    }
  });

  test('[MQTT-3.1.2-22] [MQTT-3.2.2-22] [MQTT-3.14.2-1] [MQTT-3.14.4-1] [3.1.1 MQTT-3.1.2-24] silence of one and a half keep alives ends the connection', async () => {
    const { peer } = await house.connect({ keepalive: 10 }, version);
    house.pass(15);
    await peer.nothing();
    house.pass(16);
    expect(await peer.end()).toMatchObject(version === 5 ? [{ cmd: 'disconnect', reasonCode: 0x8d }] : []);
  });

  test('[MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.1.2-10] [MQTT-3.1.2-14] [MQTT-3.1.2-15] [MQTT-3.14.4-3] [3.1.1 MQTT-3.1.2-8] [3.1.1 MQTT-3.1.2-9] [3.1.1 MQTT-3.1.2-10] [3.1.1 MQTT-3.1.2-12] [3.1.1 MQTT-3.1.2-16] [3.1.1 MQTT-3.1.2-17] [3.1.1 MQTT-3.14.4-3] a will is published once when the connection is lost, retained if it says so, and not after DISCONNECT', async () => {
    const watcher = await watch('#');
    for (const retain of [false, true]) {
      (await house.connect({ will: { ...will, retain } }, version)).peer.destroy();
      expect(await watcher.nextOf('publish')).toMatchObject({ topic: 'will', qos: 1, retain });
      expect(house.vhost.retained.count).toBe(retain ? 1 : 0);
    }
    await (await house.connect({ will }, version)).peer.leave();
    (await house.connect({}, version)).peer.destroy();
    await watcher.nothing();
  });

  test('[MQTT-3.1.2-23] [MQTT-4.1.0-2] [3.1.1 MQTT-3.1.2-4] a session outlives its connection, as long as it may', async () => {
    await (await house.connect(lasting, version)).peer.leave();
    house.pass(99);
    const second = await house.connect(lasting, version);
    expect(second.connack.sessionPresent).toBe(true);
    await second.peer.leave();
    house.pass(101);
    expect((await house.connect(lasting, version)).connack.sessionPresent).toBe(version === 4);
  });

  test('[MQTT-4.2-1] [3.1.1 MQTT-7.1.1-1] [3.1.1 MQTT-7.0.0-2] a plain stream of octets, however it is cut, is all that is needed', async () => {
    const { peer } = await house.connect({}, version);
    for (const octet of packet(0x82, short(1), none, text('a'), Buffer.from([0]))) peer.raw(Buffer.from([octet]));
    expect(await peer.nextOf('suback')).toMatchObject({ messageId: 1 });
  });

  test('[MQTT-3.14.2-2] a server that stops says 0x8B to MQTT 5, without a session expiry', async () => {
    const { peer } = await house.connect(lasting, version);
    house.door.stop();
    const said = await peer.end();
    expect(said).toMatchObject(version === 5 ? [{ cmd: 'disconnect', reasonCode: 0x8b }] : []);
    expect(said[0]?.properties?.sessionExpiryInterval).toBeUndefined();
  });
});

describe('MQTT 5', () => {
  test('[MQTT-3.1.3-9] [MQTT-3.1.3-10] a will waits for its delay, also over a crash, and keeps its properties', async () => {
    const properties = octets('26 0001 62 0001 31 18 0000000a 26 0001 61 0001 32 26 0001 62 0001 33');
    const peer = house.dial();
    peer.raw(
      packet(
        0x10,
        text('MQTT'),
        octets('05 c4 0000 05 11 00000064'),
        text('w'),
        Buffer.from([properties.length]),
        properties,
        text('will'),
        text('gone'),
        text('guest'),
        text('guest'),
      ),
    );
    await peer.nextOf('connack');
    await house.durable();
    house = await house.crash();
    const watcher = await watch('will');
    house.pass(9);
    await watcher.nothing();
    const chunks: Buffer[] = [];
    watcher.socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    house.pass(2);
    await watcher.nextOf('publish');
    expect(Buffer.concat(chunks).includes(octets('26 0001 62 0001 31 26 0001 61 0001 32 26 0001 62 0001 33'))).toBe(
      true,
    );
  });

  test('[MQTT-3.3.4-3] [MQTT-3.3.4-4] one copy bears all subscription identifiers', async () => {
    const { peer } = await house.connect();
    await peer.subscribe('i/#', {}, { subscriptionIdentifier: 5 });
    await peer.subscribe('i/+', {}, { subscriptionIdentifier: 268_435_455 });
    peer.publish('i/x', '');
    const { properties } = await peer.nextOf('publish');
    expect([...properties.subscriptionIdentifier].sort()).toEqual([268_435_455, 5]);
    await peer.nothing();
  });

  test.each(['$share', '$share/', '$share/g', '$share/g/', '$share//a', '$share/g+/a', '$share/#/a'])(
    '[MQTT-4.8.2-1] [MQTT-4.8.2-2] %s is no shared subscription: 0x8F',
    async (filter) => {
      const { peer } = await house.connect();
      expect((await peer.subscribe(filter)).granted).toEqual([0x8f]);
    },
  );

  test('[MQTT-4.8.2-3] [MQTT-4.8.2-6] a share respects the granted QoS, and what a member refuses is nobody else’s', async () => {
    const { peer } = await house.connect();
    await peer.subscribe('$share/g/s', { qos: 1 });
    const { peer: sender } = await house.connect();
    sender.publish('s', '', { qos: 2, messageId: 1 });
    const { qos, messageId } = await peer.nextOf('publish');
    expect(qos).toBe(1);
    const other = await house.connect();
    await other.peer.subscribe('$share/g/s', { qos: 1 });
    peer.send({ cmd: 'puback', messageId, reasonCode: 0x80 } as never);
    await peer.nothing();
    peer.destroy();
    await other.peer.nothing();
  });

  test('a session that ends with deliveries under way leaves nothing on the disk', async () => {
    const body = Buffer.alloc(400_000);
    for (let life = 0; life < 10; life++) {
      const { peer } = await house.connect(lasting);
      await peer.subscribe('s', { qos: 1 });
      for (const messageId of [1, 2, 3]) {
        peer.publish('s', body, { qos: 1, messageId });
        await Promise.all([peer.next(), peer.next()]); // the delivery is not acknowledged
      }
      await peer.leave({ sessionExpiryInterval: 0 });
      await house.durable();
    }
    const bytes = () => [...house.disk.contents().values()].reduce((sum, { length }) => sum + length, 0);
    await expect.poll(bytes).toBeLessThan(4_000_000);
  });

  test('a share is durable from the first member on that outlives its connection, and goes with the last', async () => {
    const queues = () => [...house.vhost.queues.values()].map(({ name, spec }) => [name, spec.durable]);
    const { peer } = await house.connect();
    await peer.subscribe('$share/g/s', { qos: 1 });
    expect(queues()).toEqual([['mqtt-shared.g.s', false]]);
    const { peer: sender } = await house.connect();
    const first = await house.connect(lasting);
    await first.peer.subscribe('$share/g/s', { qos: 1 });
    expect(queues()).toEqual([['mqtt-shared.g.s', true]]);
    await first.peer.leave();
    await peer.leave();
    sender.publish('s', 'kept', { qos: 1, messageId: 1 });
    await sender.nextOf('puback');
    house = await house.crash();
    const again = await house.connect(lasting);
    expect(await again.peer.nextOf('publish')).toMatchObject({ payload: Buffer.from('kept') });
    again.peer.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['$share/g/s'] });
    await again.peer.nextOf('unsuback');
    expect(queues()).toEqual([]);
  });

  test('a share of clients that are gone is gone, and writes nothing', async () => {
    const before = house.journal.position;
    const { peer } = await house.connect();
    await peer.subscribe('$share/g/s', { qos: 1 });
    peer.publish('s', 'x', { qos: 1, messageId: 1 });
    await Promise.all([peer.next(), peer.next()]);
    expect(house.journal.position).toBe(before);
    await peer.leave();
    expect(house.vhost.queues.size).toBe(0);
  });

  test('groups whose names have dots are others', async () => {
    const { peer } = await house.connect();
    await peer.subscribe('$share/a/b.c', { qos: 0 });
    await peer.subscribe('$share/a.b/c', { qos: 0 });
    peer.publish('c', 'x');
    expect(await peer.nextOf('publish')).toMatchObject({ topic: 'c' });
    peer.publish('b.c', 'x');
    expect(await peer.nextOf('publish')).toMatchObject({ topic: 'b.c' });
    expect([...house.vhost.queues.keys()]).toEqual(['mqtt-shared.a.b.c', 'mqtt-shared.a%2Eb.c']);
  });

  test('[MQTT-4.8.2-4] [MQTT-4.8.2-5] QoS 2 that a member began is completed with it, or is nobody’s when its session ends', async () => {
    const first = await house.connect(lasting);
    await first.peer.subscribe('$share/g/s', { qos: 2 });
    const { peer: sender } = await house.connect();
    sender.publish('s', '', { qos: 2, messageId: 1 });
    const { messageId } = await first.peer.nextOf('publish');
    const other = await house.connect();
    await other.peer.subscribe('$share/g/s', { qos: 2 });
    first.peer.destroy();
    await other.peer.nothing();
    const again = await house.connect(lasting);
    expect(await again.peer.nextOf('publish')).toMatchObject({ messageId, dup: true });
    again.peer.destroy();
    house.pass(101);
    await other.peer.nothing();
  });
});
