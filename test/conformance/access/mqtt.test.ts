import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MqttPeer, type Received, type Version } from '../../support/mqtt-peer.ts';
import {
  AccessServer,
  casesOf,
  configure,
  type Need,
  plainUser,
  type Row,
  read,
  readTopic,
  snapshot,
  usersOf,
  write,
  writeTopic,
} from './world.ts';

/** How a version is told that it may not: by an acknowledgement, with the connection alive, or by its end. */
type Refusal = 'puback' | 'pubrec' | 'suback' | 'end' | 'connack';

interface MqttRow extends Row {
  readonly connect?: object;
  readonly sends?: (peer: MqttPeer) => void;
  readonly refusal: Refusal;
  /** What says that it was done; a ping's answer where nothing does. */
  readonly done: (peer: MqttPeer) => Promise<void>;
}

const publishNeeds = (key: string): Need[] => [write('exchange', 'amq.topic'), writeTopic('amq.topic', key)];

const subscribeNeeds = (queue: string, pattern: string): Need[] => [
  configure('queue', queue),
  write('queue', queue),
  read('queue', queue),
  read('exchange', 'amq.topic'),
  readTopic('amq.topic', pattern),
];

const granted = (qos: number) => async (peer: MqttPeer) => {
  expect((await peer.nextOf('suback')).granted).toEqual([qos]);
};

const subscribe = (filter: string, qos: number) => (peer: MqttPeer) =>
  peer.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: filter, qos }] } as never);

const rows: MqttRow[] = [
  {
    title: 'PUBLISH of QoS 0',
    needs: publishNeeds('a.b'),
    sends: (peer) => peer.publish('a/b', 'body'),
    refusal: 'end',
    done: (peer) => peer.nothing(),
  },
  {
    title: 'PUBLISH of QoS 1',
    needs: publishNeeds('a.b'),
    sends: (peer) => peer.publish('a/b', 'body', { qos: 1, messageId: 7 }),
    refusal: 'puback',
    done: async (peer) => void (await peer.nextOf('puback')),
  },
  {
    title: 'PUBLISH of QoS 2',
    needs: publishNeeds('a.b'),
    sends: (peer) => peer.publish('a/b', 'body', { qos: 2, messageId: 7 }),
    refusal: 'pubrec',
    done: async (peer) => void (await peer.nextOf('pubrec')),
  },
  {
    title: 'PUBLISH of what is to be retained',
    needs: publishNeeds('kept'),
    sends: (peer) => peer.publish('kept', 'anew', { qos: 1, messageId: 7, retain: true }),
    refusal: 'puback',
    done: async (peer) => void (await peer.nextOf('puback')),
  },
  {
    title: 'PUBLISH that clears what is retained',
    needs: publishNeeds('kept'),
    sends: (peer) => peer.publish('kept', '', { qos: 1, messageId: 7, retain: true }),
    refusal: 'puback',
    done: async (peer) => void (await peer.nextOf('puback')),
  },
  {
    title: 'PUBLISH to a queue',
    needs: [write('exchange', '')],
    sends: (peer) => peer.publish('$queue-of/work', 'body', { qos: 1, messageId: 7 }),
    refusal: 'puback',
    done: async (peer) => void (await peer.nextOf('puback')),
  },
  {
    title: 'CONNECT with a will',
    needs: publishNeeds('gone.c1'),
    connect: { will: { topic: 'gone/c1', payload: Buffer.from('will'), qos: 1, retain: true } },
    refusal: 'connack',
    done: (peer) => peer.nothing(),
  },
  {
    title: 'CONNECT with a will for a queue',
    needs: [write('exchange', '')],
    connect: { will: { topic: '$queue-of/work', payload: Buffer.from('will'), qos: 1, retain: false } },
    refusal: 'connack',
    done: (peer) => peer.nothing(),
  },
  {
    title: 'SUBSCRIBE of QoS 0',
    needs: subscribeNeeds('mqtt-subscription-c1qos0', 'a.b'),
    sends: subscribe('a/b', 0),
    refusal: 'suback',
    done: granted(0),
  },
  {
    title: 'SUBSCRIBE of QoS 1 with a wildcard',
    needs: subscribeNeeds('mqtt-subscription-c1qos1', 'a.*.#'),
    sends: subscribe('a/+/#', 1),
    refusal: 'suback',
    done: granted(1),
  },
  {
    title: 'SUBSCRIBE in a session that lasts',
    needs: subscribeNeeds('mqtt-subscription-c1qos1', 'a.b'),
    connect: { clean: false, properties: { sessionExpiryInterval: 600 } },
    sends: subscribe('a/b', 2),
    refusal: 'suback',
    done: granted(2),
  },
  {
    title: 'SUBSCRIBE to a share',
    needs: subscribeNeeds('mqtt-shared.team.a/b', 'a.b'),
    sends: subscribe('$share/team/a/b', 1),
    refusal: 'suback',
    done: granted(1),
  },
  {
    title: 'SUBSCRIBE to a queue',
    needs: [read('queue', 'work')],
    sends: subscribe('$queue-of/work', 1),
    refusal: 'suback',
    done: async (peer) => {
      const packets = [await peer.next(), await peer.next()]; // what waits may come before the SUBACK
      expect(packets.map(({ cmd }) => cmd).sort()).toEqual(['publish', 'suback']);
    },
  },
];

const versions = [5, 4] as const;
const cases = { 5: casesOf(rows, '5'), 4: casesOf(rows, '4') };
/** Each has a virtual host of its own. */
const worlds = ['taken-5', 'taken-4', 'resumed', 'will', 'lost'];
let server: AccessServer;
beforeAll(async () => {
  const everything = { configure: '.*', write: '.*', read: '.*' };
  const publisher = { configure: '', write: '^amq\\.topic$', read: '' };
  const own = { write: '^{client_id}\\.', read: '^{client_id}\\.' };
  server = await AccessServer.start({
    ...usersOf([...cases[5], ...cases[4]]),
    owner: { ...plainUser, permissions: Object.fromEntries(worlds.map((world) => [world, everything])) },
    stranger: { ...plainUser, permissions: { 'taken-5': publisher, 'taken-4': publisher } },
    device: {
      ...plainUser,
      permissions: { own: everything, alias: everything },
      topicPermissions: { own: { 'amq.topic': own }, alias: { 'amq.topic': own } },
    },
  });
});
afterAll(() => server?.stop());

function connect({ user, vhost }: { user: string; vhost: string }, version: Version, options: object = {}) {
  const login = { username: `${vhost}:${user}`, password: Buffer.from('pw'), clientId: 'c1' };
  return MqttPeer.connect(server, { ...login, ...options }, version);
}

/** What the connection is told at its end: by MQTT 5 a reason, by 3.1.1 nothing. */
function endsWith(version: Version, reasonCode: number): object[] {
  return version === 5 ? [expect.objectContaining({ cmd: 'disconnect', reasonCode })] : [];
}

async function refused(peer: MqttPeer, connack: Received, refusal: Refusal, version: Version): Promise<void> {
  if (refusal === 'connack') {
    expect(connack).toMatchObject(version === 5 ? { reasonCode: 0x87 } : { returnCode: 5 });
    expect(await peer.end()).toEqual([]);
    return;
  }
  if (refusal === 'suback') {
    expect((await peer.nextOf('suback')).granted).toEqual([version === 5 ? 0x87 : 0x80]);
    return peer.nothing();
  }
  // [3.1.1 MQTT-3.3.5-2] no word for it but the end of the connection
  if (refusal === 'end' || version < 5) return expect(await peer.end()).toEqual(endsWith(version, 0x87));
  expect(await peer.nextOf(refusal)).toMatchObject({ messageId: 7, reasonCode: 0x87 });
  await peer.nothing();
}

describe.each(versions)('MQTT %s', (version) => {
  for (const each of cases[version]) {
    test(each.title, async () => {
      const { row } = each;
      const vhost = server.makeWorld(each.vhost);
      const before = snapshot(vhost);
      const { peer, connack } = await connect(each, version, row.connect);
      if (each.missing === null) {
        expect(connack).toMatchObject(version === 5 ? { reasonCode: 0 } : { returnCode: 0 });
        row.sends?.(peer);
        await row.done(peer);
        if (row.sends !== undefined) expect(snapshot(vhost)).not.toEqual(before);
      } else {
        const connected = row.refusal === 'connack' ? before : snapshot(vhost); // a session that lasts is remembered
        row.sends?.(peer);
        await refused(peer, connack, row.refusal, version);
        expect(snapshot(vhost)).toEqual(connected);
      }
      peer.destroy();
      await server.until(() => vhost.clients.size === 0); // its will may be written, to the journal of all
    });
  }
});

const nothing = { configure: '', write: '', read: '' };
const lasting = { clean: false, properties: { sessionExpiryInterval: 600 } };

test.each(versions)('MQTT %s: a session with subscriptions is not for others to take or to end', async (version) => {
  const world = `taken-${version}`;
  server.makeWorld(world);
  const owner = { user: 'owner', vhost: world };
  const { peer } = await connect(owner, version, lasting);
  await peer.subscribe('a/b', { qos: 1 });
  for (const clean of [false, true]) {
    const { peer: stranger, connack } = await connect({ user: 'stranger', vhost: world }, version, { clean });
    expect(connack).toMatchObject(version === 5 ? { reasonCode: 0x87 } : { returnCode: 5 });
    expect(await stranger.end()).toEqual([]);
    await peer.nothing(); // and its owner was not sent away
  }
  peer.destroy();
  const { connack } = await connect(owner, version, lasting);
  expect(connack.sessionPresent).toBe(true);
});

test('a session that is taken up is without the subscriptions that it may not have any longer', async () => {
  const vhost = server.makeWorld('resumed');
  const owner = { user: 'owner', vhost: 'resumed' };
  const first = await connect(owner, 5, lasting);
  await first.peer.subscribe('a/b', { qos: 1 });
  await first.peer.subscribe('c/d', { qos: 1 });
  await first.peer.leave();
  const { permissions } = server.users;
  permissions.setTopic('resumed', 'owner', 'amq.topic', { write: '.*', read: '^c\\.d$' });
  const { peer, connack } = await connect(owner, 5, lasting);
  expect(connack).toMatchObject({ reasonCode: 0, sessionPresent: true });
  await peer.nothing();
  const queue = vhost.queues.get('mqtt-subscription-c1qos1')!;
  expect([...queue.bindings].map(({ key }) => key)).toEqual(['c.d']);
  permissions.clearTopics('resumed', 'owner');
  peer.destroy();
});

test('[MQTT-3.1.2-8] a will is not published for a user who lost the permission', async () => {
  const vhost = server.makeWorld('will');
  const everything = { configure: '.*', write: '.*', read: '.*' };
  const { permissions } = server.users;
  const will = { topic: 'gone', payload: Buffer.from('will'), qos: 1, retain: true };
  for (const mayPublish of [false, true]) {
    const { peer } = await connect({ user: 'owner', vhost: 'will' }, 5, { will });
    permissions.set('will', 'owner', mayPublish ? everything : nothing);
    const published = vhost.publishedIn;
    const left = server.until(() => vhost.clients.size === 0);
    peer.destroy();
    await left;
    expect(vhost.publishedIn - published).toBe(mayPublish ? 1 : 0);
    expect(vhost.retained.get('gone', 0)?.body.toString()).toBe(mayPublish ? 'will' : undefined);
    permissions.set('will', 'owner', everything);
  }
});

test('[RabbitMQ: topic authorisation] {client_id} stands for the client, also in its will', async () => {
  server.makeWorld('own');
  const device = { user: 'device', vhost: 'own' };
  const will = (topic: string) => ({ will: { topic, payload: Buffer.from('will'), qos: 0, retain: false } });
  const stranger = await connect(device, 5, will('c2/gone'));
  expect(stranger.connack.reasonCode).toBe(0x87);
  const { peer, connack } = await connect(device, 5, will('c1/gone'));
  expect(connack.reasonCode).toBe(0);
  peer.publish('c1/state', 'body', { qos: 1, messageId: 1 });
  expect((await peer.nextOf('puback')).reasonCode).not.toBe(0x87);
  peer.publish('c2/state', 'body', { qos: 1, messageId: 2 });
  expect((await peer.nextOf('puback')).reasonCode).toBe(0x87);
  expect((await peer.subscribe('c2/#')).granted).toEqual([0x87]);
  expect((await peer.subscribe('c1/#')).granted).toEqual([0]);
  await peer.leave();
});

test('a permission that is lost is lost at the next message, and one that is given holds at the next', async () => {
  const vhost = server.makeWorld('lost');
  const { permissions } = server.users;
  const { peer } = await connect({ user: 'owner', vhost: 'lost' }, 5);
  const before = vhost.publishedIn;
  const codes: number[] = [];
  for (const permission of [{ ...nothing, write: '.*' }, nothing, { ...nothing, write: '.*' }]) {
    permissions.set('lost', 'owner', permission);
    peer.publish('same/topic', 'body', { qos: 1, messageId: 1 });
    codes.push((await peer.nextOf('puback')).reasonCode);
  }
  expect(codes).toEqual([0x10, 0x87, 0x10]);
  expect(vhost.publishedIn - before).toBe(2);
  permissions.set('lost', 'owner', { configure: '.*', write: '.*', read: '.*' });
  peer.destroy();
});

test('an alias that was given with a topic that may not be published to stands for it all the same', async () => {
  server.makeWorld('alias');
  const { peer } = await connect({ user: 'device', vhost: 'alias' }, 5, { clientId: 'c1' });
  const aliased = (topic: string, alias: number, messageId: number) =>
    peer.publish(topic, 'body', { qos: 1, messageId, properties: { topicAlias: alias } });
  aliased('c2/state', 3, 1);
  aliased('', 3, 2);
  aliased('c1/state', 3, 3);
  aliased('', 3, 4);
  const codes = [];
  for (let i = 0; i < 4; i++) codes.push((await peer.nextOf('puback')).reasonCode);
  expect(codes).toEqual([0x87, 0x87, 0x10, 0x10]);
  await peer.leave();
});
