import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BrokerProcess } from '../../support/broker-process.ts';
import { MqttPeer, type Version } from '../../support/mqtt-peer.ts';

let broker: BrokerProcess;
let clientId = 0;

beforeAll(async () => {
  broker = await BrokerProcess.start();
});

afterAll(() => broker?.remove());

const nextId = (): string => `qos-${++clientId}`;
/** A session that outlives its connection, in either version. */
const lasting = (version: Version): object => ({
  clean: false,
  clientId: nextId(),
  ...(version === 5 ? { properties: { sessionExpiryInterval: 3600 } } : {}),
});

describe.each([4, 5] as const)('version %i', (version) => {
  test('[MQTT-4.3.1-1] QoS 0 is delivered with QoS 0 and no packet id', async () => {
    const { peer } = await MqttPeer.connect(broker, {}, version);
    await peer.subscribe('q0/a', { qos: 2 });
    peer.publish('q0/a', 'x');
    expect(await peer.nextOf('publish')).toMatchObject({ qos: 0, dup: false, payload: Buffer.from('x') });
    peer.destroy();
  });

  test('[MQTT-4.3.2-2] QoS 1 is acknowledged by a PUBACK of its packet id, and delivered until it is acknowledged', async () => {
    const { peer } = await MqttPeer.connect(broker, {}, version);
    await peer.subscribe('q1/a', { qos: 1 });
    peer.publish('q1/a', 'x', { qos: 1, messageId: 77 });
    const both = [await peer.next(), await peer.next()];
    expect(both.find(({ cmd }) => cmd === 'puback')).toMatchObject({ messageId: 77 });
    expect(both.find(({ cmd }) => cmd === 'publish')).toMatchObject({ qos: 1, dup: false });
    peer.destroy();
  });

  test('[MQTT-4.3.3-8] [MQTT-4.3.3-10] [MQTT-4.3.3-11] QoS 2 to the broker: once, however often it is sent before PUBREL', async () => {
    const { peer } = await MqttPeer.connect(broker, {}, version);
    const { peer: watcher } = await MqttPeer.connect(broker, {}, version);
    await watcher.subscribe(`q2/in${version}`, { qos: 0 });
    const publish = (dup: boolean): void => peer.publish(`q2/in${version}`, 'x', { qos: 2, messageId: 9, dup });
    publish(false);
    expect(await peer.nextOf('pubrec')).toMatchObject({ messageId: 9 });
    publish(true);
    expect(await peer.nextOf('pubrec')).toMatchObject({ messageId: 9 });
    peer.send({ cmd: 'pubrel', messageId: 9 });
    expect(await peer.nextOf('pubcomp')).toMatchObject({ messageId: 9 });
    publish(false); // the same id is another message now
    await peer.nextOf('pubrec');
    await watcher.nextOf('publish');
    await watcher.nextOf('publish');
    await watcher.nothing();
    peer.destroy();
    watcher.destroy();
  });

  test('[MQTT-4.3.3-2] [MQTT-4.3.3-5] QoS 2 from the broker: PUBLISH, PUBREC, PUBREL, PUBCOMP with one packet id', async () => {
    const { peer } = await MqttPeer.connect(broker, {}, version);
    await peer.subscribe('q2/out', { qos: 2 });
    const { peer: sender } = await MqttPeer.connect(broker, {}, version);
    sender.publish('q2/out', 'x', { qos: 2, messageId: 1 });
    const { messageId, qos } = await peer.nextOf('publish');
    expect(qos).toBe(2);
    peer.send({ cmd: 'pubrec', messageId });
    expect(await peer.nextOf('pubrel')).toMatchObject({ messageId });
    peer.send({ cmd: 'pubcomp', messageId });
    await peer.nothing();
    peer.destroy();
    sender.destroy();
  });

  test.each(['reconnect', 'kill -9'] as const)(
    '[MQTT-4.4.0-1] [MQTT-4.6.0-1] [MQTT-3.3.1-1] what is in flight is sent again with its packet ids, in order and with DUP, after %s',
    async (how) => {
      const own = how === 'kill -9' ? await BrokerProcess.start() : broker;
      const session = lasting(version);
      const topic = `again/${version}/${how.length}`;
      const first = await MqttPeer.connect(own, session, version);
      await first.peer.subscribe(topic, { qos: 2 });
      const { peer: sender } = await MqttPeer.connect(own, {}, version);
      for (const [i, qos] of [1, 2, 1, 2].entries()) {
        sender.publish(topic, `m${i}`, { qos, messageId: i + 1 });
        await sender.nextOf(qos === 1 ? 'puback' : 'pubrec');
      }
      const sent = [];
      for (let i = 0; i < 4; i++) sent.push(await first.peer.nextOf('publish'));
      sent.sort((a, b) => a.messageId - b.messageId);
      const released = sent.find(({ qos }) => qos === 2);
      first.peer.send({ cmd: 'pubrec', messageId: released.messageId });
      expect(await first.peer.nextOf('pubrel')).toMatchObject({ messageId: released.messageId });
      first.peer.destroy();
      sender.destroy();
      let now = own;
      if (how === 'kill -9') {
        await own.kill();
        now = await BrokerProcess.start({ dataDir: own.dataDir });
      }
      const second = await MqttPeer.connect(now, session, version);
      expect(second.connack.sessionPresent).toBe(true);
      const again = [];
      for (let i = 0; i < 4; i++) again.push(await second.peer.next());
      expect(again.find(({ cmd }) => cmd === 'pubrel')).toMatchObject({ messageId: released.messageId });
      const publishes = again.filter(({ cmd }) => cmd === 'publish');
      expect(publishes.map(({ messageId, payload, qos, dup }) => [messageId, String(payload), qos, dup])).toEqual(
        sent
          .filter((each) => each !== released)
          .map(({ messageId, payload, qos }) => [messageId, String(payload), qos, true]),
      );
      second.peer.send({ cmd: 'pubcomp', messageId: released.messageId });
      for (const { messageId, qos } of publishes) {
        second.peer.send({ cmd: qos === 1 ? 'puback' : 'pubrec', messageId });
        if (qos === 2) {
          await second.peer.nextOf('pubrel');
          second.peer.send({ cmd: 'pubcomp', messageId });
        }
      }
      await second.peer.nothing();
      second.peer.destroy();
      const third = await MqttPeer.connect(now, session, version);
      await third.peer.nothing();
      third.peer.destroy();
      if (now !== broker) {
        await now.remove();
        await own.remove();
      }
    },
  );

  test('[MQTT-4.3.3-10] a QoS 2 publish that was received before kill -9 is not taken twice', async () => {
    const own = await BrokerProcess.start();
    const session = lasting(version);
    const watcherSession = lasting(version);
    const watcher = await MqttPeer.connect(own, watcherSession, version);
    await watcher.peer.subscribe('once', { qos: 1 });
    await watcher.peer.leave();
    const first = await MqttPeer.connect(own, session, version);
    first.peer.publish('once', 'x', { qos: 2, messageId: 5 });
    await first.peer.nextOf('pubrec');
    await own.kill();
    const again = await BrokerProcess.start({ dataDir: own.dataDir });
    const second = await MqttPeer.connect(again, session, version);
    expect(second.connack.sessionPresent).toBe(true);
    second.peer.publish('once', 'x', { qos: 2, messageId: 5, dup: true });
    await second.peer.nextOf('pubrec');
    second.peer.send({ cmd: 'pubrel', messageId: 5 });
    await second.peer.nextOf('pubcomp');
    const back = await MqttPeer.connect(again, watcherSession, version);
    expect(await back.peer.nextOf('publish')).toMatchObject({ payload: Buffer.from('x') });
    await back.peer.nothing();
    second.peer.destroy();
    back.peer.destroy();
    await again.remove();
    await own.remove();
  });

  test('[MQTT-2.2.1-3] [3.1.1 MQTT-2.3.1-1] packet id 0 ends the connection', async () => {
    const { peer } = await MqttPeer.connect(broker, {}, version);
    peer.raw(version === 5 ? '32 08 00 01 61 00 00 00 78 78' : '32 07 00 01 61 00 00 78 78');
    const rest = await peer.end();
    if (version === 5) expect(rest).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x81 }]);
    else expect(rest).toEqual([]);
  });

  test('[MQTT-3.3.1-4] both QoS bits set end the connection', async () => {
    const { peer } = await MqttPeer.connect(broker, {}, version);
    peer.raw('36 05 00 01 61 00 01');
    const rest = await peer.end();
    if (version === 5) expect(rest).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x81 }]);
  });
});

test('[MQTT-3.3.4-9] [MQTT-3.3.4-7] no more than the receive maximum is in flight; QoS 0 is not held up by it', async () => {
  const { peer } = await MqttPeer.connect(broker, { properties: { receiveMaximum: 2 } });
  await peer.subscribe('window', { qos: 2 });
  const { peer: sender } = await MqttPeer.connect(broker);
  for (let i = 1; i <= 4; i++) sender.publish('window', `m${i}`, { qos: 1, messageId: i });
  for (let i = 1; i <= 4; i++) await sender.nextOf('puback');
  sender.publish('window', 'at once', { qos: 0 });
  const first = await peer.nextOf('publish');
  await peer.nextOf('publish');
  expect(await peer.nextOf('publish')).toMatchObject({ qos: 0, payload: Buffer.from('at once') });
  await peer.nothing();
  peer.send({ cmd: 'puback', messageId: first.messageId });
  expect(await peer.nextOf('publish')).toMatchObject({ payload: Buffer.from('m3') });
  await peer.nothing();
  peer.destroy();
  sender.destroy();
});

test('[MQTT-4.3.3-4] a PUBREC with an error ends the delivery: no PUBREL, and its packet id is free', async () => {
  const { peer } = await MqttPeer.connect(broker, { properties: { receiveMaximum: 1 } });
  await peer.subscribe('refuse', { qos: 2 });
  const { peer: sender } = await MqttPeer.connect(broker);
  sender.publish('refuse', 'a', { qos: 2, messageId: 1 });
  sender.publish('refuse', 'b', { qos: 2, messageId: 2 });
  const { messageId } = await peer.nextOf('publish');
  peer.send({ cmd: 'pubrec', messageId, reasonCode: 0x97 });
  expect(await peer.nextOf('publish')).toMatchObject({ payload: Buffer.from('b') });
  peer.destroy();
  sender.destroy();
});

test('[MQTT-3.3.1-2] DUP with QoS 0 is malformed', async () => {
  const { peer } = await MqttPeer.connect(broker);
  peer.raw('38 04 00 01 61 00');
  expect(await peer.end()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x81 }]);
});

test('PUBREL and PUBREC of unknown packet ids are answered with 0x92', async () => {
  const { peer } = await MqttPeer.connect(broker);
  peer.send({ cmd: 'pubrel', messageId: 4711 });
  expect(await peer.nextOf('pubcomp')).toMatchObject({ messageId: 4711, reasonCode: 0x92 });
  peer.send({ cmd: 'pubrec', messageId: 4712 });
  expect(await peer.nextOf('pubrel')).toMatchObject({ messageId: 4712, reasonCode: 0x92 });
  peer.destroy();
});

test('a publish that nobody is subscribed to is acknowledged with 0x10', async () => {
  const { peer } = await MqttPeer.connect(broker);
  peer.publish('nobody/here', 'x', { qos: 1, messageId: 1 });
  expect(await peer.nextOf('puback')).toMatchObject({ reasonCode: 0x10 });
  peer.publish('nobody/here', 'x', { qos: 2, messageId: 2 });
  expect(await peer.nextOf('pubrec')).toMatchObject({ reasonCode: 0x10 });
  peer.destroy();
});
