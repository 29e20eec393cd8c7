import { beforeEach, describe, expect, test } from 'vitest';
import { MqttHouse } from '../../support/mqtt-house.ts';
import type { MqttPeer, Received } from '../../support/mqtt-peer.ts';
import { octets, packet, short, text } from '../../support/mqtt-wire.ts';

let house: MqttHouse;

beforeEach(async () => {
  house = await MqttHouse.open();
});

async function expectEnd(peer: MqttPeer, code: number): Promise<void> {
  expect(await peer.end()).toMatchObject(peer.version === 5 ? [{ cmd: 'disconnect', reasonCode: code }] : []);
}

/** So many packets, in their order. */
async function take(peer: MqttPeer, count: number): Promise<Received[]> {
  const packets: Received[] = [];
  while (packets.length < count) packets.push(await peer.next());
  return packets;
}

const lasting = { clientId: 'lasting', clean: false, properties: { sessionExpiryInterval: 1000 } };

describe.each([4, 5] as const)('version %i', (version) => {
  const none = version === 5 ? Buffer.from([0]) : Buffer.alloc(0);

  async function open(options: object = {}): Promise<MqttPeer> {
    return (await house.connect(options, version)).peer;
  }

  test('[MQTT-2.1.3-1] [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.14.1-1] [3.1.1 MQTT-2.2.2-1] [3.1.1 MQTT-2.2.2-2] [3.1.1 MQTT-3.6.1-1] [3.1.1 MQTT-3.8.1-1] [3.1.1 MQTT-3.10.1-1] [3.1.1 MQTT-3.14.1-1] other flags than those set for a packet are malformed', async () => {
    const bodies: Record<number, Buffer> = {
      4: short(1),
      5: short(1),
      6: short(1),
      7: short(1),
      8: Buffer.concat([short(1), none, text('a'), Buffer.from([0])]),
      10: Buffer.concat([short(1), none, text('a')]),
      12: Buffer.alloc(0),
      14: Buffer.alloc(0),
    };
    for (const [type, body] of Object.entries(bodies)) {
      const right = [6, 8, 10].includes(Number(type)) ? 2 : 0;
      for (let flags = 0; flags < 16; flags++) {
        if (flags === right) continue;
        const peer = await open({ clientId: 'flags' });
        peer.raw(packet((Number(type) << 4) | flags, body));
        await expectEnd(peer, 0x81);
      }
    }
  });

  test('[MQTT-4.13.1-1] [3.1.1 MQTT-4.8.0-1] packets that are a server’s, or nobody’s, end the connection', async () => {
    for (const hex of ['00 00', '20 02 00 00', '90 03 00 01 00', 'b0 02 00 01', 'd0 00']) {
      const peer = await open();
      peer.raw(hex);
      await expectEnd(peer, 0x81);
    }
  });

  test('[MQTT-3.12.4-1] [3.1.1 MQTT-3.12.4-1] PINGREQ is answered with PINGRESP', async () => {
    const peer = await open();
    peer.raw('c0 00 c0 00');
    expect((await take(peer, 2)).map(({ cmd }) => cmd)).toEqual(['pingresp', 'pingresp']);
  });

  test('[MQTT-2.2.1-2] [MQTT-3.3.2-1] [3.1.1 MQTT-2.3.1-5] [3.1.1 MQTT-3.3.2-1] QoS 0 is topic and payload, without packet id', async () => {
    const peer = await open();
    await peer.subscribe('a', { qos: 2 });
    peer.raw(packet(0x30, text('a'), none, octets('00 01 02')));
    const seen = await peer.nextOf('publish');
    expect([seen.topic, seen.qos, seen.messageId, seen.payload]).toEqual(['a', 0, undefined, octets('00 01 02')]);
  });

  test('[MQTT-2.2.1-3] [3.1.1 MQTT-2.3.1-1] packet id 0 is malformed wherever there is one', async () => {
    for (const bad of [
      packet(0x32, text('a'), short(0), none),
      packet(0x34, text('a'), short(0), none),
      packet(0x82, short(0), none, text('a'), Buffer.from([0])),
      packet(0xa2, short(0), none, text('a')),
      packet(0x40, short(0)),
    ]) {
      const peer = await open();
      peer.raw(bad);
      await expectEnd(peer, 0x81);
    }
  });

  test('[MQTT-3.3.1-2] [MQTT-3.3.1-4] [3.1.1 MQTT-3.3.1-2] [3.1.1 MQTT-3.3.1-4] QoS 3, and DUP with QoS 0, are malformed', async () => {
    for (const first of [0x36, 0x38]) {
      const peer = await open();
      peer.raw(packet(first, text('a'), short(1), none));
      await expectEnd(peer, 0x81);
    }
  });

  test.each(['a/+', '+', '#', 'a/#/b', 'a+', '#a'])(
    '[MQTT-3.3.2-2] [MQTT-4.7.0-1] [3.1.1 MQTT-3.3.2-2] [3.1.1 MQTT-4.7.1-1] topic name %s is none',
    async (topic) => {
      const peer = await open();
      peer.raw(packet(0x30, text(topic), none));
      await expectEnd(peer, 0x90);
    },
  );

  test('[MQTT-4.7.3-1] [MQTT-4.7.3-2] [3.1.1 MQTT-4.7.3-1] [3.1.1 MQTT-4.7.3-2] names and filters are not empty, and have no NUL', async () => {
    const empty = await open();
    empty.raw(packet(0x30, text(''), none));
    await expectEnd(empty, version === 5 ? 0x82 : 0x90);
    for (const bad of [packet(0x30, text('a\0b'), none), packet(0x82, short(1), none, text('a\0'), Buffer.from([0]))]) {
      const peer = await open();
      peer.raw(bad);
      await expectEnd(peer, 0x81);
    }
  });

  test('[MQTT-1.5.4-1] [MQTT-3.3.2-1] [MQTT-3.8.3-1] [MQTT-3.10.3-1] [3.1.1 MQTT-1.5.3-1] [3.1.1 MQTT-3.8.3-1] [3.1.1 MQTT-3.10.3-1] names and filters are UTF-8', async () => {
    const bad = text(octets('ed a0 80'));
    for (const one of [
      packet(0x30, bad, none),
      packet(0x82, short(1), none, bad, Buffer.from([0])),
      packet(0xa2, short(1), none, bad),
    ]) {
      const peer = await open();
      peer.raw(one);
      await expectEnd(peer, 0x81);
    }
  });

  test('[MQTT-4.7.3-3] [MQTT-4.7.3-4] [MQTT-3.3.2-3] [3.1.1 MQTT-4.7.3-3] [3.1.1 MQTT-4.7.3-4] [3.1.1 MQTT-3.3.2-3] names of any characters and 65,535 octets match themselves and nothing else', async () => {
    const peer = await open();
    const long = 'x'.repeat(65_535);
    const topics = ['ä', 'a\u0308', ' a', 'A', '/a', 'a//b', '//', 'a.b', 'a/b', '*', 'a%2Bb', '\ufeffa', long];
    for (const topic of topics) {
      await peer.subscribe(topic);
      for (const other of topics) peer.raw(packet(0x30, text(other), none));
      expect(await peer.nextOf('publish')).toMatchObject({ topic });
      await peer.nothing();
      peer.send({ cmd: 'unsubscribe', messageId: 9, unsubscriptions: [topic] });
      await peer.nextOf('unsuback');
    }
  });

  test('[MQTT-3.3.4-1] [MQTT-2.2.1-5] [MQTT-4.3.2-4] [MQTT-4.3.3-8] [MQTT-4.3.3-11] [3.1.1 MQTT-3.3.4-1] [3.1.1 MQTT-2.3.1-6] [3.1.1 MQTT-4.3.2-2] [3.1.1 MQTT-4.3.3-2] a PUBLISH is answered as its QoS says, with its packet id', async () => {
    const peer = await open();
    const { peer: watcher } = await house.connect();
    await watcher.subscribe('a');
    peer.publish('a', '0');
    peer.publish('a', '1', { qos: 1, messageId: 77 });
    peer.publish('a', '2', { qos: 2, messageId: 78 });
    expect(await take(peer, 2)).toMatchObject([
      { cmd: 'puback', messageId: 77 },
      { cmd: 'pubrec', messageId: 78 },
    ]);
    peer.send({ cmd: 'pubrel', messageId: 78 });
    expect(await peer.next()).toMatchObject({ cmd: 'pubcomp', messageId: 78 });
    expect((await take(watcher, 3)).map(({ payload }) => String(payload))).toEqual(['0', '1', '2']);
  });

  test('[MQTT-4.3.2-5] [MQTT-4.3.3-10] [MQTT-4.3.3-12] [3.1.1 MQTT-4.3.2-2] [3.1.1 MQTT-4.3.3-2] QoS 1: the same packet id after PUBACK is another message; QoS 2: only after PUBCOMP', async () => {
    const peer = await open();
    const { peer: watcher } = await house.connect();
    await watcher.subscribe('a');
    for (const dup of [false, true]) {
      peer.publish('a', 'one', { qos: 1, messageId: 5, dup });
      await peer.nextOf('puback');
    }
    for (const dup of [false, true, true]) {
      peer.publish('a', 'two', { qos: 2, messageId: 6, dup });
      await peer.nextOf('pubrec');
    }
    peer.send({ cmd: 'pubrel', messageId: 6 });
    await peer.nextOf('pubcomp');
    peer.publish('a', 'three', { qos: 2, messageId: 6 });
    await peer.nextOf('pubrec');
    const bodies = (await take(watcher, 4)).map(({ payload }) => String(payload));
    expect(bodies).toEqual(['one', 'one', 'two', 'three']);
    await watcher.nothing();
  });

  test('[MQTT-4.6.0-2] [MQTT-4.6.0-3] [MQTT-4.6.0-5] [MQTT-4.6.0-6] [3.1.1 MQTT-4.6.0-2] [3.1.1 MQTT-4.6.0-3] [3.1.1 MQTT-4.6.0-5] [3.1.1 MQTT-4.6.0-6] acknowledgements and deliveries have the order of the publishes', async () => {
    const peer = await open();
    const watcher = await open({ ...lasting, clientId: 'w' });
    await watcher.subscribe('o', { qos: 2 });
    const sent = Array.from({ length: 100 }, (_, i) => ({ qos: 1 + (i % 2), messageId: 1000 - i }));
    for (const [i, options] of sent.entries()) peer.publish('o', String(i), options);
    const acks = await take(peer, 100);
    for (const qos of [1, 2]) {
      const cmd = qos === 1 ? 'puback' : 'pubrec';
      expect(acks.filter((ack) => ack.cmd === cmd).map(({ messageId }) => messageId)).toEqual(
        sent.filter((each) => each.qos === qos).map(({ messageId }) => messageId),
      );
    }
    const seen = await take(watcher, 100);
    for (const qos of [1, 2]) {
      expect(seen.filter((each) => each.qos === qos).map(({ payload }) => Number(payload))).toEqual(
        sent.map((_, i) => i).filter((i) => 1 + (i % 2) === qos),
      );
    }
  });

  test('[MQTT-3.3.1-3] [MQTT-4.3.1-1] [MQTT-4.3.2-2] [MQTT-4.3.3-2] [3.1.1 MQTT-3.3.1-3] [3.1.1 MQTT-4.3.1-1] [3.1.1 MQTT-4.3.2-1] [3.1.1 MQTT-4.3.3-1] the publisher’s DUP is not forwarded', async () => {
    const peer = await open();
    await peer.subscribe('d', { qos: 2 });
    for (const qos of [1, 2]) {
      peer.publish('d', 'x', { qos, messageId: 1, dup: true });
      const seen = await take(peer, 2);
      expect(seen.find(({ cmd }) => cmd === 'publish')).toMatchObject({ qos, dup: false });
    }
  });

  test('[MQTT-2.2.1-4] [MQTT-4.3.2-1] [MQTT-4.3.3-1] [3.1.1 MQTT-2.3.1-4] [3.1.1 MQTT-4.3.2-1] [3.1.1 MQTT-4.3.3-1] packet ids under way are not given again, and never 0', async () => {
    const peer = await open();
    await peer.subscribe('p', { qos: 1 });
    const { peer: sender } = await house.connect();
    sender.publish('p', 'held', { qos: 1, messageId: 1 });
    const held = await peer.nextOf('publish');
    const seen = new Set<number>();
    for (let round = 0; round < 70; round++) {
      for (let i = 0; i < 990; i++) sender.publish('p', '', { qos: 1, messageId: 1 + i });
      for (const { messageId } of await take(peer, 990)) {
        seen.add(messageId);
        peer.send({ cmd: 'puback', messageId });
      }
      await take(sender, round === 0 ? 991 : 990);
    }
    expect(seen.has(held.messageId)).toBe(false);
    expect(seen.has(0)).toBe(false);
    expect(seen.size).toBe(65_534);
  });

  test('[MQTT-4.3.2-3] [MQTT-4.3.3-3] [MQTT-4.3.3-5] [MQTT-4.3.3-6] [MQTT-4.4.0-1] [MQTT-4.6.0-1] [MQTT-4.6.0-4] [MQTT-3.3.1-1] [3.1.1 MQTT-3.3.1-1] [3.1.1 MQTT-4.3.3-1] [3.1.1 MQTT-4.4.0-1] [3.1.1 MQTT-4.6.0-1] [3.1.1 MQTT-4.6.0-4] what is unacknowledged is sent again on reconnection alone: in order, with DUP and its packet id; after PUBREC its PUBREL', async () => {
    const peer = await open(lasting);
    await peer.subscribe('u', { qos: 2 });
    const { peer: sender } = await house.connect();
    for (const qos of [1, 2, 2, 2, 1]) sender.publish('u', String(qos), { qos, messageId: 1 + sender.version });
    for (const i of [0, 1, 2]) sender.publish('u', `more ${i}`, { qos: 2, messageId: 100 + i });
    const first: Received[] = [];
    while (first.length < 6) first.push(await peer.nextOf('publish'));
    const twos = first.filter(({ qos }) => qos === 2);
    for (const { messageId } of [twos[1], twos[0]]) {
      peer.send({ cmd: 'pubrec', messageId });
      expect(await peer.nextOf('pubrel')).toMatchObject({ messageId });
    }
    house.pass(100);
    await peer.nothing();
    peer.destroy();
    const again = await open(lasting);
    const seen = await take(again, 6);
    const released = [twos[1], twos[0]].map(({ messageId }) => messageId);
    const left = first.filter(({ messageId }) => !released.includes(messageId));
    expect(seen.filter(({ cmd }) => cmd === 'publish').map(({ messageId, dup }) => [messageId, dup])).toEqual(
      left.map(({ messageId }) => [messageId, true]),
    );
    expect(seen.filter(({ cmd }) => cmd === 'pubrel').map(({ messageId }) => messageId)).toEqual(released);
    for (const { cmd, messageId } of seen.slice(0, 6)) {
      if (cmd === 'pubrel') again.send({ cmd: 'pubcomp', messageId });
    }
    await again.nothing();
  });

  test('[MQTT-4.1.0-1] [MQTT-4.5.0-1] [3.1.1 MQTT-3.1.2-4] [3.1.1 MQTT-3.1.2-5] [3.1.1 MQTT-4.1.0-1] [3.1.1 MQTT-4.1.0-2] [3.1.1 MQTT-4.5.0-1] QoS 1 and 2 wait for a session whose client is away, also over a crash', async () => {
    const peer = await open(lasting);
    await peer.subscribe('w/+', { qos: 2 });
    await peer.leave();
    const { peer: sender } = await house.connect();
    for (const qos of [0, 1, 2]) sender.publish(`w/${qos}`, 'x', { qos, messageId: 1 + qos });
    await take(sender, 2);
    await house.durable();
    house = await house.crash();
    const { peer: again, connack } = await house.connect(lasting, version);
    expect(connack.sessionPresent).toBe(true);
    expect((await take(again, 2)).map(({ topic }) => topic)).toEqual(['w/1', 'w/2']);
    await again.nothing();
  });

  test('QoS 0 waits for a session by configuration', async () => {
    house = await MqttHouse.open({ sessions: { keepsQos0: true } });
    const peer = await open(lasting);
    await peer.subscribe('w', { qos: 1 });
    await peer.leave();
    const { peer: sender } = await house.connect();
    sender.publish('w', 'kept');
    await sender.nothing();
    const again = await open(lasting);
    expect(await again.next()).toMatchObject({ topic: 'w', qos: 0 });
  });

  test('[MQTT-3.3.1-5] [MQTT-3.3.1-8] [MQTT-3.3.1-7] [3.1.1 MQTT-3.1.2-7] [3.1.1 MQTT-3.3.1-5] [3.1.1 MQTT-3.3.1-6] [3.1.1 MQTT-3.3.1-7] [3.1.1 MQTT-3.3.1-8] [3.1.1 MQTT-3.3.1-9] [3.1.1 MQTT-3.3.1-10] [3.1.1 MQTT-3.3.1-11] [3.1.1 MQTT-3.3.1-12] retained messages: the last one, its QoS, RETAIN for the new subscription alone, cleared by an empty one', async () => {
    const sender = await open();
    const established = await open({ clientId: 'e' });
    await established.subscribe('r', { qos: 2 });
    const retained = async (): Promise<unknown[]> => {
      const peer = await open({ clientId: 'n' });
      peer.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'r', qos: 2 }] } as never);
      peer.send({ cmd: 'pingreq' });
      const seen: unknown[] = [];
      for (let next = await peer.next(); next.cmd !== 'pingresp'; next = await peer.next()) {
        if (next.cmd === 'publish') seen.push([String(next.payload), next.qos, next.retain]);
      }
      return seen;
    };
    sender.publish('r', 'one', { qos: 2, messageId: 1, retain: true });
    await sender.nextOf('pubrec');
    expect(await established.next()).toMatchObject({ retain: false });
    expect(await retained()).toEqual([['one', 2, true]]);
    sender.publish('r', 'not retained', { retain: false });
    await sender.nothing();
    await established.nextOf('publish');
    expect(await retained()).toEqual([['one', 2, true]]);
    sender.publish('r', 'two', { retain: true });
    await sender.leave();
    await established.nextOf('publish');
    expect(await retained()).toEqual([['two', 0, true]]);
    const other = await open();
    other.publish('r', '', { retain: true });
    expect(await established.next()).toMatchObject({ topic: 'r', payload: Buffer.alloc(0), retain: false });
    expect(await retained()).toEqual([]);
    expect(house.vhost.retained.count).toBe(0);
  });

  test('[MQTT-3.4.2-1] [MQTT-3.5.2-1] [3.1.1 MQTT-3.3.5-2] [3.1.1 MQTT-4.8.0-2] a publish that is refused says so where there is a word for it, and else ends the connection', async () => {
    house = await MqttHouse.open({ retained: { countMax: 1, bodyBytesMax: 10 } });
    await house.addUser('reader', 'x', { configure: '.*', write: '^mqtt-', read: '.*' });
    const cases = [
      [{ username: 'reader', password: Buffer.from('x') }, { retain: false }, 'no', 0x87],
      [{}, { retain: true }, 'longer than ten', 0x97],
    ] as const;
    for (const [who, how, body, code] of cases) {
      for (const qos of [1, 2]) {
        const peer = await open(who);
        peer.publish('t', body, { qos, messageId: 3, ...how });
        if (version === 4) await peer.end();
        else
          expect(await peer.next()).toMatchObject({
            cmd: qos === 1 ? 'puback' : 'pubrec',
            messageId: 3,
            reasonCode: code,
          });
      }
    }
    const peer = await open({ username: 'reader', password: Buffer.from('x') });
    peer.publish('t', 'x');
    await expectEnd(peer, 0x87);
  });

  test('[MQTT-3.2.2-15] a packet above the limit ends the connection before it is there', async () => {
    const peer = await open();
    peer.raw('30 ff ff 7f 00');
    await expectEnd(peer, 0x95);
  });
});

describe('MQTT 5', () => {
  async function echo(properties: Buffer): Promise<Received> {
    const { peer } = await house.connect({ properties: { topicAliasMaximum: 10 } });
    await peer.subscribe('e');
    peer.raw(packet(0x30, text('e'), Buffer.from([properties.length]), properties, Buffer.from('x')));
    return await peer.nextOf('publish');
  }

  test('[MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20] all properties are forwarded as they are, user properties in their order', async () => {
    const [near] = [await house.connect({ clientId: 'raw' })];
    const block = octets(
      '26 0001 62 0001 31 01 01 08 0001 72 26 0001 61 0001 32 09 0002 00ff 03 0003 632f74 26 0001 62 0001 33',
    );
    await near.peer.subscribe('e');
    const chunks: Buffer[] = [];
    near.peer.socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    near.peer.raw(packet(0x30, text('e'), Buffer.from([block.length]), block, Buffer.from('x')));
    await near.peer.nextOf('publish');
    expect(Buffer.concat(chunks)).toEqual(
      packet(0x30, text('e'), Buffer.from([block.length]), block, Buffer.from('x')),
    );
  });

  test.each([
    ['payload format indicator 2', '01 02', 0x82],
    ['an indicator twice', '01 00 01 00', 0x82],
    ['[MQTT-3.3.2-8] topic alias 0', '23 00 00', 0x94],
    ['[MQTT-3.3.2-9] [MQTT-3.2.2-17] a topic alias above the maximum', '23 00 11', 0x94],
    ['[MQTT-3.3.2-13] a response topic that is not UTF-8', '08 00 01 c3', 0x81],
    ['[MQTT-3.3.2-14] a response topic with wildcards', '08 00 01 2b', 0x90],
    ['[MQTT-3.3.2-19] a content type that is not UTF-8', '03 00 01 c3', 0x81],
    ['[MQTT-1.5.7-1] a user property that is not UTF-8', '26 00 01 61 00 01 c3', 0x81],
    ['[MQTT-3.3.4-6] a subscription identifier', '0b 01', 0x82],
    ['a property of another packet', '11 00 00 00 01', 0x81],
    ['an unknown property', '20 00', 0x81],
    ['a property that is cut', '02 00 00', 0x81],
  ])('%s is refused', async (_what, hex, code) => {
    const { peer } = await house.connect();
    const properties = octets(hex);
    peer.raw(packet(0x30, text('e'), Buffer.from([properties.length]), properties));
    await expectEnd(peer, code);
  });

  test('[MQTT-3.2.2-18] without a maximum no topic alias is taken', async () => {
    house = await MqttHouse.open({ mqtt: { topicAliasMaximum: 0 } });
    const { peer, connack } = await house.connect();
    expect(connack.properties.topicAliasMaximum).toBeUndefined();
    peer.publish('a', 'x', { properties: { topicAlias: 1 } });
    await expectEnd(peer, 0x94);
  });

  test('[MQTT-3.1.2-26] [MQTT-3.1.2-27] [MQTT-3.3.2-11] aliases are sent within the client’s maximum, and to who has one', async () => {
    for (const topicAliasMaximum of [0, 2]) {
      const { peer } = await house.connect({ properties: topicAliasMaximum === 0 ? {} : { topicAliasMaximum } });
      await peer.subscribe('al/#');
      for (const topic of ['al/1', 'al/2', 'al/3', 'al/1']) peer.publish(topic, 'x');
      const aliases = (await take(peer, 4)).map(({ properties }) => properties?.topicAlias);
      expect(aliases).toEqual(
        topicAliasMaximum === 0 ? [undefined, undefined, undefined, undefined] : [1, 2, undefined, 1],
      );
      peer.destroy();
    }
  });

  test('[MQTT-3.3.2-7] aliases end with their connection, both ways', async () => {
    const options = { ...lasting, properties: { sessionExpiryInterval: 1000, topicAliasMaximum: 2 } };
    const first = await house.connect(options);
    await first.peer.subscribe('al', { qos: 1 });
    first.peer.publish('al', 'x', { properties: { topicAlias: 1 } });
    expect(await first.peer.nextOf('publish')).toMatchObject({ topic: 'al' });
    first.peer.destroy();
    const { peer } = await house.connect(options);
    peer.publish('al', 'x');
    expect(await peer.nextOf('publish')).toMatchObject({ topic: 'al', properties: { topicAlias: 1 } });
    peer.publish('', 'x', { properties: { topicAlias: 1 } });
    await expectEnd(peer, 0x82);
  });

  test('[MQTT-3.3.2-5] [MQTT-3.3.2-6] the expiry counts down, and what has expired is gone', async () => {
    const first = await house.connect(lasting);
    await first.peer.subscribe('x', { qos: 1 });
    await first.peer.leave();
    const { peer: sender } = await house.connect();
    for (const messageExpiryInterval of [10, 100]) {
      sender.publish('x', String(messageExpiryInterval), {
        qos: 1,
        messageId: 1,
        properties: { messageExpiryInterval },
      });
      await sender.nextOf('puback');
    }
    house.pass(30);
    const { peer } = await house.connect(lasting);
    expect(await peer.next()).toMatchObject({ payload: Buffer.from('100'), properties: { messageExpiryInterval: 70 } });
    await peer.nothing();
  });

  test('[MQTT-4.3.3-7] [MQTT-4.3.3-13] QoS 2 that was sent does not expire, and its sequence goes on', async () => {
    const { peer } = await house.connect(lasting);
    await peer.subscribe('x', { qos: 2 });
    peer.publish('x', 'q', { qos: 2, messageId: 1, properties: { messageExpiryInterval: 1 } });
    const { messageId } = (await take(peer, 2)).find(({ cmd }) => cmd === 'publish');
    house.pass(100);
    peer.send({ cmd: 'pubrel', messageId: 1 });
    await peer.nextOf('pubcomp');
    peer.send({ cmd: 'pubrec', messageId });
    expect(await peer.next()).toMatchObject({ cmd: 'pubrel', messageId });
  });

  test('[MQTT-4.3.3-9] after a PUBREC that refuses the packet id is another message', async () => {
    house = await MqttHouse.open({ retained: { countMax: 0, bodyBytesMax: 10 } });
    const { peer } = await house.connect();
    await peer.subscribe('x');
    peer.publish('x', 'no', { qos: 2, messageId: 4, retain: true });
    expect(await peer.next()).toMatchObject({ cmd: 'pubrec', reasonCode: 0x97 });
    peer.publish('x', 'yes', { qos: 2, messageId: 4 });
    const seen = await take(peer, 2);
    expect(seen.map(({ cmd }) => cmd).sort()).toEqual(['publish', 'pubrec']);
    peer.send({ cmd: 'pubrel', messageId: 4 });
    expect(await peer.next()).toMatchObject({ cmd: 'pubcomp', reasonCode: 0 });
  });

  test('[MQTT-3.6.2-1] [MQTT-3.7.2-1] unknown packet ids are 0x92 in PUBREL and PUBCOMP', async () => {
    const { peer } = await house.connect();
    peer.send({ cmd: 'pubrec', messageId: 9 });
    expect(await peer.next()).toMatchObject({ cmd: 'pubrel', messageId: 9, reasonCode: 0x92 });
    peer.send({ cmd: 'pubrel', messageId: 9 });
    expect(await peer.next()).toMatchObject({ cmd: 'pubcomp', messageId: 9, reasonCode: 0x92 });
  });

  test('[MQTT-4.4.0-2] what is acknowledged with an error is not sent again', async () => {
    const { peer } = await house.connect(lasting);
    await peer.subscribe('x', { qos: 2 });
    const { peer: sender } = await house.connect();
    sender.publish('x', '1', { qos: 1, messageId: 1 });
    sender.publish('x', '2', { qos: 2, messageId: 2 });
    for (const { qos, messageId } of await take(peer, 2)) {
      peer.send({ cmd: qos === 1 ? 'puback' : 'pubrec', messageId, reasonCode: 0x83 } as never);
    }
    await peer.nothing();
    peer.destroy();
    await (await house.connect(lasting)).peer.nothing();
  });

  test('[MQTT-3.3.4-9] [MQTT-3.3.4-10] [MQTT-4.9.0-1] [MQTT-4.9.0-2] [MQTT-4.9.0-3] the receive maximum holds back QoS 1 and 2, and nothing else', async () => {
    const { peer } = await house.connect({ properties: { receiveMaximum: 2 } });
    await peer.subscribe('x', { qos: 1 });
    const { peer: sender } = await house.connect();
    for (const i of [1, 2, 3]) sender.publish('x', String(i), { qos: 1, messageId: i });
    const [first] = await take(peer, 2);
    await peer.nothing();
    sender.publish('x', 'zero');
    expect(await peer.nextOf('publish')).toMatchObject({ payload: Buffer.from('zero') });
    await peer.subscribe('y');
    peer.send({ cmd: 'puback', messageId: first.messageId });
    expect(await peer.nextOf('publish')).toMatchObject({ payload: Buffer.from('3') });
  });

  test('[MQTT-3.3.4-7] a client above the server’s receive maximum is closed with 0x93', async () => {
    house = await MqttHouse.open({ mqtt: { receiveMaximum: 2 } });
    const { peer, connack } = await house.connect();
    expect(connack.properties.receiveMaximum).toBe(2);
    for (const messageId of [1, 2, 3]) peer.publish('x', '', { qos: 2, messageId });
    expect((await peer.end()).at(-1)).toMatchObject({ cmd: 'disconnect', reasonCode: 0x93 });
  });

  test('QoS 0 to a subscriber is handed on, neither kept nor copied for it, from the first subscription on', async () => {
    const { peer } = await house.connect({ clientId: 'fleeting' });
    await peer.subscribe('x', { qos: 0 });
    peer.publish('x', 'octets');
    expect(await peer.next()).toMatchObject({ cmd: 'publish', qos: 0 });
    const queue = house.vhost.queues.get('mqtt-subscription-fleetingqos0');
    expect(queue).toMatchObject({ deliveredSettled: 1, delivered: 0, acked: 0 });
  });

  test('a payload that is said to be text is checked by configuration', async () => {
    const properties = { payloadFormatIndicator: true };
    expect(await echo(octets('01 01'))).toMatchObject({ properties });
    house = await MqttHouse.open({ mqtt: { validatePayloadFormat: true } });
    const { peer } = await house.connect();
    peer.publish('x', Buffer.from([0xff]), { qos: 1, messageId: 1, properties });
    expect(await peer.next()).toMatchObject({ cmd: 'puback', reasonCode: 0x99 });
    peer.publish('x', Buffer.from([0xff]), { qos: 2, messageId: 2, properties });
    expect(await peer.next()).toMatchObject({ cmd: 'pubrec', reasonCode: 0x99 });
    peer.publish('x', 'ä', { qos: 1, messageId: 3, properties });
    expect(await peer.next()).toMatchObject({ cmd: 'puback', reasonCode: 0x10 });
    peer.publish('x', Buffer.from([0xff]), { properties });
    await expectEnd(peer, 0x99);
  });

  test('nobody subscribed is 0x10, for QoS 1 and 2, in sessions that last too', async () => {
    const { peer } = await house.connect(lasting);
    peer.publish('x', '', { qos: 1, messageId: 1 });
    expect(await peer.next()).toMatchObject({ cmd: 'puback', reasonCode: 0x10 });
    peer.publish('x', '', { qos: 2, messageId: 2 });
    expect(await peer.next()).toMatchObject({ cmd: 'pubrec', reasonCode: 0x10 });
  });

  test('reason codes that an acknowledgement does not have are 0x82', async () => {
    for (const hex of ['40 03 00 01 92', '50 03 00 01 01', '62 03 00 01 80', '70 03 00 01 10']) {
      const { peer } = await house.connect();
      peer.raw(hex);
      await expectEnd(peer, 0x82);
    }
  });
});

test('a refused publish for later does not delay the next one', async () => {
  const { peer } = await house.connect();
  await peer.subscribe('t', { qos: 0 });
  peer.publish('t', 'first', { qos: 0 }); // its topic is known from now on
  peer.publish('$delayed/5/$SYS/t', 'later', { qos: 1, messageId: 1 });
  peer.publish('t', 'second', { qos: 0 });
  expect((await peer.next()).payload.toString()).toBe('first');
  expect((await peer.next()).reasonCode).toBeGreaterThanOrEqual(0x80);
  expect((await peer.next()).payload.toString()).toBe('second');
});
