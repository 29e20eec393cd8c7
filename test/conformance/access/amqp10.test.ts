import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Any } from '../../../src/protocols/amqp10/types.ts';
import { Amqp10Peer, data, mapOf, section } from '../../support/amqp10-peer.ts';
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

/** A request to the management node, and the permissions that it needs. */
interface RequestRow extends Row {
  readonly method: string;
  readonly path: string;
  readonly body: Any;
}

const requests: RequestRow[] = [
  {
    title: 'declaring a queue',
    method: 'PUT',
    path: '/queues/new',
    body: mapOf({}),
    needs: [configure('queue', 'new')],
  },
  {
    title: 'declaring a queue with dead letters',
    method: 'PUT',
    path: '/queues/new',
    body: mapOf({ arguments: mapOf({ 'x-dead-letter-exchange': 'orders' }) }),
    needs: [configure('queue', 'new'), read('queue', 'new'), write('exchange', 'orders')],
  },
  {
    title: 'deleting a queue',
    method: 'DELETE',
    path: '/queues/work',
    body: null,
    needs: [configure('queue', 'work')],
  },
  {
    title: 'purging a queue',
    method: 'DELETE',
    path: '/queues/work/messages',
    body: null,
    needs: [read('queue', 'work')],
  },
  {
    title: 'declaring an exchange',
    method: 'PUT',
    path: '/exchanges/new',
    body: mapOf({}),
    needs: [configure('exchange', 'new')],
  },
  {
    title: 'deleting an exchange',
    method: 'DELETE',
    path: '/exchanges/orders',
    body: null,
    needs: [configure('exchange', 'orders')],
  },
  {
    title: 'binding a queue to a topic',
    method: 'POST',
    path: '/bindings',
    body: mapOf({ source: 'news', destination_queue: 'work', binding_key: 'c.d' }),
    needs: [write('queue', 'work'), read('exchange', 'news'), readTopic('news', 'c.d')],
  },
  {
    title: 'unbinding a queue',
    method: 'DELETE',
    path: '/bindings/src=orders;dstq=work;key=k;args=',
    body: null,
    needs: [write('queue', 'work'), read('exchange', 'orders')],
  },
];

const cases = casesOf(rows);
const requestCases = casesOf(requests, 'request');
const senders: Row[] = [
  { title: 'to a queue', needs: [write('exchange', '')] },
  { title: 'to a topic', needs: [write('exchange', 'news'), writeTopic('news', 'a.b')] },
];
const senderCases = casesOf(senders, 'anonymous');
const dynamicCases = casesOf([{ title: 'a dynamic source', needs: [read('queue', /amq.dynamic-[\w-]+/)] }], 'dynamic');
let server: AccessServer;
beforeAll(async () => {
  server = await AccessServer.start({
    ...usersOf(cases),
    ...usersOf(requestCases),
    ...usersOf(senderCases),
    ...usersOf(dynamicCases),
  });
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

describe('[RabbitMQ: access control] requests to the management node', () => {
  for (const each of requestCases) {
    test(each.title, async () => {
      const { row, missing, user, vhost: name } = each;
      const vhost = server.makeWorld(name);
      const peer = await Amqp10Peer.openSession(server.port('amqp'), {
        user,
        password: 'pw',
        hostname: `vhost:${name}`,
      });
      const before = snapshot(vhost);
      const { status, body } = await peer.manage(row.method, row.path, row.body);
      if (missing === null) {
        expect(status).toMatch(/^20/);
        expect(snapshot(vhost)).not.toEqual(before);
      } else {
        expect(status).toBe('403');
        expect(body).toMatch(refusalOf(each));
        expect(snapshot(vhost)).toEqual(before);
      }
      peer.destroy();
    });
  }
});

describe('[RabbitMQ: access control] a sender to where each message says', () => {
  for (const each of senderCases) {
    test(each.title, async () => {
      const { row, missing, user, vhost: name } = each;
      const vhost = server.makeWorld(name);
      const peer = await Amqp10Peer.openSession(server.port('amqp'), {
        user,
        password: 'pw',
        hostname: `vhost:${name}`,
      });
      await peer.sender(0, null);
      const before = snapshot(vhost);
      const to = row.title === 'to a queue' ? '/queues/work' : '/exchanges/news/a.b';
      const outcome = await peer.publish(0, Buffer.concat([section(0x73, [null, null, to]), data('x')]));
      if (missing === null) expect(outcome).toEqual({ is: 'accepted' });
      else {
        expect(outcome).toMatchObject({ is: 'rejected', error: { condition: 'amqp:unauthorized-access' } });
        expect((outcome as { error: { description: string } }).error.description).toMatch(refusalOf(each));
        expect(snapshot(vhost)).toEqual(before);
      }
      peer.destroy();
    });
  }
});

describe('[RabbitMQ: access control] a dynamic node', () => {
  for (const each of dynamicCases) {
    test(each.title, async () => {
      const { missing, user, vhost: name } = each;
      const vhost = server.makeWorld(name);
      const peer = await Amqp10Peer.openSession(server.port('amqp'), {
        user,
        password: 'pw',
        hostname: `vhost:${name}`,
      });
      const before = snapshot(vhost);
      peer.send('attach', { name: 'link', handle: 0, role: true, source: { is: 'source', dynamic: true } });
      await peer.expect('attach');
      if (missing !== null) {
        const { condition, description } = await peer.detached();
        expect(condition).toBe('amqp:unauthorized-access');
        expect(description).toMatch(refusalOf(each));
        expect(snapshot(vhost)).toEqual(before);
      }
      peer.destroy();
    });
  }
});
