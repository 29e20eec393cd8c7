import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Amqp10Peer } from '../../support/amqp10-peer.ts';
import {
  AccessServer,
  casesOf,
  configure,
  type Row,
  read,
  readTopic,
  refusalOf,
  snapshot,
  usersOf,
  write,
  writeTopic,
} from './world.ts';

/** A link, and the permissions that attaching it needs. */
interface LinkRow extends Row {
  readonly role: 'sender' | 'receiver';
  readonly address: string;
}

const own = /amqp-subscription-[\w-]+/;
const ownQueue = [configure('queue', own), write('queue', own), read('queue', own)];

const rows: LinkRow[] = [
  {
    title: 'a sender to an exchange',
    role: 'sender',
    address: '/exchanges/orders/k',
    needs: [write('exchange', 'orders')],
  },
  {
    title: 'a sender to an exchange, with the keys of its messages',
    role: 'sender',
    address: '/exchanges/news',
    needs: [write('exchange', 'news')],
  },
  {
    title: 'a sender to a topic',
    role: 'sender',
    address: '/exchanges/news/a.b',
    needs: [write('exchange', 'news'), writeTopic('news', 'a.b')],
  },
  { title: 'a sender to a queue', role: 'sender', address: '/queues/work', needs: [write('exchange', '')] },
  { title: 'a receiver from a queue', role: 'receiver', address: '/queues/work', needs: [read('queue', 'work')] },
  {
    title: 'a receiver from an exchange',
    role: 'receiver',
    address: '/exchanges/orders/k',
    needs: [...ownQueue, read('exchange', 'orders')],
  },
  {
    title: 'a receiver from a topic',
    role: 'receiver',
    address: '/exchanges/news/a.#',
    needs: [...ownQueue, read('exchange', 'news'), readTopic('news', 'a.#')],
  },
];

const cases = casesOf(rows);
let server: AccessServer;
beforeAll(async () => {
  server = await AccessServer.start(usersOf(cases));
});
afterAll(() => server?.stop());

describe('[RabbitMQ: access control] AMQP 1.0', () => {
  for (const each of cases) {
    test(each.title, async () => {
      const { row, missing, user, vhost: name } = each;
      const vhost = server.makeWorld(name);
      const peer = await Amqp10Peer.openSession(server.port('amqp'), {
        user,
        password: 'pw',
        hostname: `vhost:${name}`,
      });
      const before = snapshot(vhost);
      const isReceiver = row.role === 'receiver';
      peer.send('attach', {
        name: 'link',
        handle: 0,
        role: isReceiver,
        ...(isReceiver
          ? { source: { is: 'source', address: row.address }, target: { is: 'target' } }
          : { target: { is: 'target', address: row.address }, initialDeliveryCount: 0 }),
      });
      if (missing === null) {
        const attach = (await peer.next()).performative;
        expect(attach).toMatchObject({ is: 'attach', role: !isReceiver });
        if (isReceiver) expect(snapshot(vhost)).not.toEqual(before);
      } else {
        // [AMQP 1.0 §2.6.3] an attach without a terminus, and the detach that says why
        expect((await peer.next()).performative.is).toBe('attach');
        const { condition, description, closed } = await peer.detached();
        expect([condition, closed]).toEqual(['amqp:unauthorized-access', true]);
        expect(description).toMatch(refusalOf(each));
        expect(snapshot(vhost)).toEqual(before);
        await peer.begin(1); // the session and its connection live on
      }
      peer.destroy();
    });
  }
});
