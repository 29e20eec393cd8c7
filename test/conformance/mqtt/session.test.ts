import amqplib from 'amqplib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BrokerProcess } from '../../support/broker-process.ts';
import { MqttPeer } from '../../support/mqtt-peer.ts';

let broker: BrokerProcess;

beforeAll(async () => {
  broker = await BrokerProcess.start({ args: ['--set', 'mqtt.keepAliveMaxSeconds=600'] });
});

afterAll(() => broker?.remove());

const lasting = { clean: false, properties: { sessionExpiryInterval: 3600 } };

describe('CONNECT', () => {
  test('[MQTT-3.1.3-6] [MQTT-3.2.2-16] an empty client id is given one, which is told', async () => {
    const { peer, connack } = await MqttPeer.connect(broker);
    expect(connack).toMatchObject({ reasonCode: 0, sessionPresent: false });
    expect(connack.properties.assignedClientIdentifier).toMatch(/.+/);
    peer.destroy();
  });

  test('[3.1.1 MQTT-3.1.3-7] [3.1.1 MQTT-3.1.3-8] [3.1.1 MQTT-3.2.2-4] an empty client id without clean session is refused with return code 2', async () => {
    const peer = await MqttPeer.open(broker, 4);
    peer.raw('10 0c 00 04 4d 51 54 54 04 00 00 00 00 00');
    expect(await peer.end()).toMatchObject([{ cmd: 'connack', returnCode: 2, sessionPresent: false }]);
  });

  test.each([3, 4] as const)('version %i: a wrong password is return code 4', async (version) => {
    const { peer, connack } = await MqttPeer.connect(broker, { clientId: 'p', password: Buffer.from('no') }, version);
    expect(connack.returnCode).toBe(4);
    await peer.end();
  });

  test('a wrong password is reason code 0x86', async () => {
    const { peer, connack } = await MqttPeer.connect(broker, { password: Buffer.from('no') });
    expect(connack.reasonCode).toBe(0x86);
    await peer.end();
  });

  test('[MQTT-3.1.2-2] a level that is not spoken is refused in words that its client knows', async () => {
    const old = await MqttPeer.open(broker, 4);
    old.raw('10 0d 00 04 4d 51 54 54 02 02 00 00 00 01 61');
    expect(await old.end()).toMatchObject([{ cmd: 'connack', returnCode: 1 }]);
    const young = await MqttPeer.open(broker, 5);
    young.raw('10 0e 00 04 4d 51 54 54 06 02 00 00 00 00 01 61');
    expect(await young.end()).toMatchObject([{ cmd: 'connack', reasonCode: 0x84 }]);
  });

  test('[MQTT-3.1.0-1] [MQTT-3.1.0-2] CONNECT is the first packet, and only that', async () => {
    const before = await MqttPeer.open(broker);
    before.raw('c0 00');
    expect(await before.end()).toEqual([]);
    const { peer } = await MqttPeer.connect(broker);
    peer.sendConnect({});
    expect(await peer.end()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x82 }]);
  });

  test('[MQTT-3.1.2-3] the reserved flag is malformed, and MQTT 5 is told', async () => {
    const peer = await MqttPeer.open(broker);
    peer.raw('10 0e 00 04 4d 51 54 54 05 03 00 00 00 00 01 61');
    expect(await peer.end()).toMatchObject([{ cmd: 'connack', reasonCode: 0x81 }]);
  });

  test('[MQTT-4.12.0-1] an authentication method that is not spoken is refused with 0x8C', async () => {
    const { peer, connack } = await MqttPeer.connect(broker, { properties: { authenticationMethod: 'KERBEROS-9' } });
    expect(connack.reasonCode).toBe(0x8c);
    await peer.end();
  });

  test('[MQTT-3.2.2-21] a keep alive above the longest is answered with the longest', async () => {
    const { peer, connack } = await MqttPeer.connect(broker, { keepalive: 3000 });
    expect(connack.properties.serverKeepAlive).toBe(600);
    peer.destroy();
  });

  test('response information comes to who asks for it, and to nobody else', async () => {
    const asked = await MqttPeer.connect(broker, { clientId: 'r', properties: { requestResponseInformation: true } });
    expect(asked.connack.properties.responseInformation).toBe('responses/r');
    const silent = await MqttPeer.connect(broker, { clientId: 's' });
    expect(silent.connack.properties.responseInformation).toBeUndefined();
    asked.peer.destroy();
    silent.peer.destroy();
  });

  test('[MQTT-3.1.4-3] a second connection of a client id takes the session over', async () => {
    const first = await MqttPeer.connect(broker, { clientId: 'taken', ...lasting });
    await first.peer.subscribe('taken', { qos: 1 });
    const second = await MqttPeer.connect(broker, { clientId: 'taken', ...lasting });
    expect(await first.peer.end()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x8e }]);
    expect(second.connack.sessionPresent).toBe(true);
    second.peer.publish('taken', 'x');
    await second.peer.nextOf('publish');
    second.peer.destroy();
  });
});

describe('sessions', () => {
  test('[MQTT-3.1.2-4] [MQTT-3.1.2-5] clean start begins anew, and without it what was missed comes', async () => {
    const id = 'offline';
    const first = await MqttPeer.connect(broker, { clientId: id, ...lasting });
    await first.peer.subscribe('offline/#', { qos: 1 });
    await first.peer.leave();
    const { peer: sender } = await MqttPeer.connect(broker);
    sender.publish('offline/1', 'kept', { qos: 1, messageId: 1 });
    await sender.nextOf('puback');
    sender.publish('offline/0', 'lost', { qos: 0 });
    await sender.nothing();
    const second = await MqttPeer.connect(broker, { clientId: id, ...lasting });
    expect(second.connack.sessionPresent).toBe(true);
    const { messageId, payload, dup } = await second.peer.nextOf('publish');
    expect([String(payload), dup]).toEqual(['kept', false]);
    second.peer.send({ cmd: 'puback', messageId });
    await second.peer.nothing();
    await second.peer.leave();
    const third = await MqttPeer.connect(broker, { clientId: id, clean: true });
    expect(third.connack.sessionPresent).toBe(false);
    sender.publish('offline/1', 'nobody', { qos: 1, messageId: 2 });
    expect(await sender.nextOf('puback')).toMatchObject({ reasonCode: 0x10 });
    third.peer.destroy();
    sender.destroy();
  });

  test('session expiry at DISCONNECT: not up from 0; down to 0 ends the session', async () => {
    const wrong = await MqttPeer.connect(broker, { clientId: 'e1' });
    wrong.peer.send({ cmd: 'disconnect', reasonCode: 0, properties: { sessionExpiryInterval: 10 } });
    expect(await wrong.peer.end()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x82 }]);
    const right = await MqttPeer.connect(broker, { clientId: 'e2', ...lasting });
    await right.peer.leave({ sessionExpiryInterval: 0 });
    const again = await MqttPeer.connect(broker, { clientId: 'e2', ...lasting });
    expect(again.connack.sessionPresent).toBe(false);
    again.peer.destroy();
  });

  test('a session that is to end with its connection is not there after kill -9, one that lasts is', async () => {
    const own = await BrokerProcess.start();
    const brief = await MqttPeer.connect(own, { clientId: 'brief', clean: false });
    await brief.peer.subscribe('a', { qos: 1 });
    const long = await MqttPeer.connect(own, { clientId: 'long', ...lasting });
    await long.peer.subscribe('a', { qos: 1 }, { subscriptionIdentifier: 7 });
    brief.peer.publish('a', 'x', { qos: 1, messageId: 1 });
    await long.peer.nextOf('publish');
    const told = [(await brief.peer.next()).cmd, (await brief.peer.next()).cmd];
    expect(told.sort()).toEqual(['puback', 'publish']);
    await own.kill();
    const next = await BrokerProcess.start({ dataDir: own.dataDir });
    expect((await MqttPeer.connect(next, { clientId: 'brief', clean: false })).connack.sessionPresent).toBe(false);
    const back = await MqttPeer.connect(next, { clientId: 'long', ...lasting });
    expect(back.connack.sessionPresent).toBe(true);
    back.peer.publish('a', 'y', { qos: 0 });
    const payloads = [await back.peer.next(), await back.peer.next()].filter(({ cmd }) => cmd === 'publish');
    for (const each of payloads) expect(each.properties.subscriptionIdentifier).toBe(7);
    back.peer.destroy();
    await next.remove();
    await own.remove();
  });
});

describe('wills', () => {
  const will = (topic: string, more: object = {}): object => ({
    topic,
    payload: Buffer.from('gone'),
    qos: 1,
    retain: false,
    ...more,
  });

  test('[MQTT-3.1.2-8] [MQTT-3.14.4-3] a will is published when the connection is lost, or left with 0x04, and not when it is left', async () => {
    const { peer: watcher } = await MqttPeer.connect(broker);
    await watcher.subscribe('will/+', { qos: 1 });
    const properties = { contentType: 'text/x', userProperties: { a: '1' }, messageExpiryInterval: 60 };
    const lost = await MqttPeer.connect(broker, { will: will('will/lost', { properties }) as never });
    lost.peer.destroy();
    const seen = await watcher.nextOf('publish');
    expect(seen).toMatchObject({ topic: 'will/lost', qos: 1, payload: Buffer.from('gone') });
    expect(seen.properties).toMatchObject({ contentType: 'text/x', messageExpiryInterval: 60 });
    expect({ ...seen.properties.userProperties }).toEqual({ a: '1' });
    watcher.send({ cmd: 'puback', messageId: seen.messageId });
    const left = await MqttPeer.connect(broker, { will: will('will/left') as never });
    await left.peer.leave();
    await watcher.nothing();
    const asked = await MqttPeer.connect(broker, { will: will('will/asked') as never });
    await asked.peer.leave({}, 4);
    expect(await watcher.nextOf('publish')).toMatchObject({ topic: 'will/asked' });
    watcher.destroy();
  });

  test('[MQTT-3.1.3-9] a delayed will is not sent to one who comes back in time', async () => {
    const { peer: watcher } = await MqttPeer.connect(broker);
    await watcher.subscribe('delayed', { qos: 0 });
    const delayed = {
      clientId: 'delayed',
      will: will('delayed', { properties: { willDelayInterval: 3600 } }) as never,
    };
    const first = await MqttPeer.connect(broker, { ...delayed, ...lasting });
    first.peer.destroy();
    const second = await MqttPeer.connect(broker, { clientId: 'delayed', ...lasting });
    await second.peer.leave();
    await watcher.nothing();
    // A session that ends takes the delay with it.
    const third = await MqttPeer.connect(broker, { ...delayed, ...lasting });
    third.peer.destroy();
    const fourth = await MqttPeer.connect(broker, { clientId: 'delayed', clean: true });
    expect(await watcher.nextOf('publish')).toMatchObject({ topic: 'delayed' });
    fourth.peer.destroy();
    watcher.destroy();
  });
});

describe('queues that others see', () => {
  test('$queue-of/<name> publishes to a queue and consumes from it; a share is a queue that AMQP may join', async () => {
    const amqp = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${broker.port('amqp')}`);
    const channel = await amqp.createConfirmChannel();
    await channel.assertQueue('orders.v1');
    const { peer } = await MqttPeer.connect(broker);
    expect((await peer.subscribe('$queue-of/orders.v1', { qos: 1 })).granted).toEqual([1]);
    channel.sendToQueue('orders.v1', Buffer.from('from amqp'));
    const seen = await peer.nextOf('publish');
    expect(seen).toMatchObject({ topic: '$queue-of/orders.v1', payload: Buffer.from('from amqp') });
    peer.send({ cmd: 'puback', messageId: seen.messageId });
    await peer.leave();
    const { peer: sender } = await MqttPeer.connect(broker);
    sender.publish('$queue-of/orders.v1', 'from mqtt', { qos: 1, messageId: 1 });
    expect(await sender.nextOf('puback')).toMatchObject({ reasonCode: 0 });
    const got = await channel.get('orders.v1', { noAck: true });
    expect(got ? got.content.toString() : null).toBe('from mqtt');
    const member = await MqttPeer.connect(broker, { clientId: 'member', ...lasting });
    await member.peer.subscribe('$share/g/jobs/#', { qos: 1 });
    await member.peer.leave();
    sender.publish('jobs/1', 'job', { qos: 1, messageId: 2 });
    await sender.nextOf('puback');
    const job = await channel.get('mqtt-shared.g.jobs/#', { noAck: true });
    expect(job ? job.content.toString() : null).toBe('job');
    sender.destroy();
    await amqp.close();
  });

  test('x-mqtt-retain retains what AMQP publishes', async () => {
    const amqp = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${broker.port('amqp')}`);
    const channel = await amqp.createConfirmChannel();
    channel.publish('amq.topic', 'from.amqp', Buffer.from('kept'), { headers: { 'x-mqtt-retain': true } });
    await channel.waitForConfirms();
    const { peer } = await MqttPeer.connect(broker);
    await peer.subscribe('from/+', { qos: 0 });
    expect(await peer.nextOf('publish')).toMatchObject({ topic: 'from/amqp', retain: true });
    peer.destroy();
    await amqp.close();
  });
});
