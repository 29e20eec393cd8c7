import { expect, test } from 'vitest';
import { Mqtt } from '../../../src/protocols/mqtt/protocol.ts';
import { MqttHouse } from '../../support/mqtt-house.ts';
import type { MqttPeer } from '../../support/mqtt-peer.ts';

const open = () => MqttHouse.open({ sessions: { sysIntervalSeconds: 10, version: '1.2.3' } });

/** All topics as they are retained now, without their common beginning. */
async function read(house: MqttHouse): Promise<Record<string, string>> {
  const { peer } = await house.connect({ clientId: 'reader' });
  await peer.subscribe('$SYS/broker/#');
  peer.send({ cmd: 'pingreq' });
  const topics: Record<string, string> = {};
  for (let packet = await peer.next(); packet.cmd === 'publish'; packet = await peer.next()) {
    expect(packet.retain).toBe(true);
    topics[packet.topic.slice('$SYS/broker/'.length)] = packet.payload.toString();
  }
  await peer.leave();
  return topics;
}

const loads = (name: string) => [1, 5, 15].map((minutes) => `load/${name}/${minutes}min`);

// The list of Mosquitto 2.0, but for bridges and its log.
const mosquittos = [
  ...['bytes/received', 'bytes/sent', 'heap/current', 'heap/maximum', 'uptime', 'version'],
  ...['active', 'connected', 'disconnected', 'expired', 'inactive', 'maximum', 'total'].map(
    (each) => `clients/${each}`,
  ),
  ...['bytes/received', 'bytes/sent', 'connections', 'messages/received', 'messages/sent'].flatMap(loads),
  ...['publish/dropped', 'publish/received', 'publish/sent', 'sockets'].flatMap(loads),
  ...['messages/received', 'messages/sent', 'messages/stored', 'messages/inflight'],
  ...['publish/bytes/received', 'publish/bytes/sent'],
  ...['publish/messages/dropped', 'publish/messages/received', 'publish/messages/sent'],
  ...['retained messages/count', 'shared_subscriptions/count', 'subscriptions/count'],
  ...['store/messages/bytes', 'store/messages/count'],
];

test('there are Mosquitto’s topics', async () => {
  const house = await open();
  house.pass(1);
  expect(Object.keys(await read(house)).sort()).toEqual(mosquittos.sort());
});

test('they count clients, packets, messages and what is kept', async () => {
  const house = await open();
  const lasting = { clean: false, properties: { sessionExpiryInterval: 100 } };
  const away = await house.connect({ clientId: 'away', ...lasting });
  await away.peer.subscribe('a', { qos: 1 });
  await away.peer.leave();
  const brief = { clientId: 'brief', clean: false, properties: { sessionExpiryInterval: 1 } };
  await (await house.connect(brief)).peer.leave();
  const { peer } = await house.connect({ clientId: 'there' });
  await peer.subscribe('$share/g/b', { qos: 0 });
  peer.publish('a', '12345', { qos: 1, messageId: 1, retain: true });
  await peer.nextOf('puback');
  peer.publish('b', 'x');
  await peer.nextOf('publish');
  await peer.nothing();
  house.pass(5);
  expect(await read(house)).toMatchObject({
    version: 'RosettaMQ 1.2.3',
    uptime: '5 seconds',
    'clients/total': '2',
    'clients/connected': '1',
    'clients/active': '1',
    'clients/disconnected': '1',
    'clients/inactive': '1',
    'clients/maximum': '1',
    'clients/expired': '1',
    'subscriptions/count': '2',
    'shared_subscriptions/count': '1',
    'retained messages/count': '1',
    'messages/stored': '2',
    'store/messages/count': '2',
    'store/messages/bytes': '10',
    'messages/inflight': '0',
    // 3 CONNECT, 2 SUBSCRIBE, 2 DISCONNECT, 2 PUBLISH, PINGREQ; 3 CONNACK, 2 SUBACK, PUBACK, PUBLISH, PINGRESP
    'messages/received': '10',
    'messages/sent': '8',
    'publish/messages/received': '2',
    'publish/messages/sent': '1',
    'publish/messages/dropped': '0',
    'publish/bytes/received': '6',
    'publish/bytes/sent': '1',
  });
});

test('all listeners are counted together', async () => {
  const house = await open();
  await house.connect({ clientId: 'one' });
  const other = new Mqtt(house.broker, house.sessions, house.door.options);
  house.pass(1);
  other.sweep();
  expect(await read(house)).toMatchObject({ 'clients/connected': '1' });
});

test('loads are averages a minute', async () => {
  const house = await open();
  house.pass(60);
  const { peer } = await house.connect();
  for (let i = 0; i < 30; i++) peer.publish('a', 'x');
  await peer.nothing();
  house.pass(60);
  const topics = await read(house);
  const weigh = (minutes: number) => (30 * (1 - Math.exp(-1 / minutes))).toFixed(2);
  expect(loads('publish/received').map((topic) => topics[topic])).toEqual([weigh(1), weigh(5), weigh(15)]);
  expect(topics['load/sockets/1min']).toBe(topics['load/connections/1min']);
});

test('at each interval what has changed is published, and nothing else', async () => {
  const house = await open();
  house.pass(1);
  const { peer } = await house.connect({ clientId: 'watcher' });
  const names = ['version', 'uptime', 'retained messages/count', 'clients/connected'];
  for (const name of names) {
    await peer.subscribe(`$SYS/broker/${name}`);
    await peer.nextOf('publish');
  }
  const changed = async (seconds: number): Promise<string[]> => {
    house.pass(seconds);
    peer.send({ cmd: 'pingreq' });
    const topics: string[] = [];
    for (let packet = await peer.next(); packet.cmd === 'publish'; packet = await peer.next()) {
      expect(packet.retain).toBe(false);
      topics.push(`${packet.topic.slice('$SYS/broker/'.length)}=${packet.payload}`);
    }
    return topics;
  };
  expect(await changed(9)).toEqual([]);
  expect(await changed(1)).toEqual(['uptime=11 seconds', 'clients/connected=1']);
  expect(await changed(10)).toEqual(['uptime=21 seconds']);
  await publishRetained(peer);
  expect(await changed(10)).toEqual(['uptime=31 seconds', 'retained messages/count=1']);
});

async function publishRetained(peer: MqttPeer): Promise<void> {
  peer.publish('kept', 'x', { qos: 1, messageId: 1, retain: true });
  await peer.nextOf('puback');
}
