import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Value } from '../../../src/core/properties.ts';
import { encodeProperties } from '../../../src/protocols/amqp091/properties.ts';
import { type Method, methods } from '../../../src/protocols/amqp091/spec.ts';
import { AmqpPeer } from '../../support/amqp-peer.ts';
import {
  AccessServer,
  type Case,
  casesOf,
  configure,
  type Need,
  plainUser,
  type Row,
  read,
  readTopic,
  refusalOf,
  snapshot,
  usersOf,
  write,
  writeTopic,
} from './world.ts';

/** An operation and the permissions that it needs, as RabbitMQ's table of access control has them. */
interface AmqpRow extends Row {
  /** Before it, on channel 1. */
  readonly before?: (peer: AmqpPeer) => Promise<void>;
  readonly sends: (peer: AmqpPeer) => void;
  readonly method: Method;
  /** What says that it was done. */
  readonly reply: Method;
  /** False: it only looks. */
  readonly changes?: false;
}

const table = (entries: Record<string, Value>) => new Map(Object.entries(entries));
const headers = (entries: Record<string, Value>) => encodeProperties({ headers: table(entries) }, null as never);

function call(method: Method, values: Record<string, unknown>, reply: Method) {
  return { method, reply, sends: (peer: AmqpPeer) => peer.send(1, method, values) };
}

const confirms = async (peer: AmqpPeer): Promise<void> => {
  await peer.call(1, methods.confirmSelect, {}, methods.confirmSelectOk);
};

function publish(exchange: string, routingKey: string, native?: Buffer) {
  return {
    method: methods.basicPublish,
    reply: methods.basicAck,
    before: confirms,
    sends: (peer: AmqpPeer) => peer.publish(1, { exchange, routingKey }, 'body', native),
  };
}

const rows: AmqpRow[] = [
  {
    title: 'exchange.declare',
    needs: [configure('exchange', 'fresh')],
    ...call(methods.exchangeDeclare, { exchange: 'fresh', type: 'fanout', durable: true }, methods.exchangeDeclareOk),
  },
  {
    title: 'exchange.declare of one that is there',
    needs: [configure('exchange', 'orders')],
    ...call(methods.exchangeDeclare, { exchange: 'orders', type: 'direct', durable: true }, methods.exchangeDeclareOk),
    changes: false,
  },
  {
    title: 'exchange.declare with alternate-exchange',
    needs: [configure('exchange', 'fresh'), read('exchange', 'fresh'), write('exchange', 'logs')],
    ...call(
      methods.exchangeDeclare,
      { exchange: 'fresh', type: 'fanout', arguments: table({ 'alternate-exchange': 'logs' }) },
      methods.exchangeDeclareOk,
    ),
  },
  {
    title: 'exchange.declare, passive',
    needs: [],
    ...call(methods.exchangeDeclare, { exchange: 'orders', type: 'direct', passive: true }, methods.exchangeDeclareOk),
    changes: false,
  },
  {
    title: 'exchange.delete',
    needs: [configure('exchange', 'orders')],
    ...call(methods.exchangeDelete, { exchange: 'orders' }, methods.exchangeDeleteOk),
  },
  {
    title: 'exchange.delete of one that is not there',
    needs: [configure('exchange', 'nowhere')],
    ...call(methods.exchangeDelete, { exchange: 'nowhere' }, methods.exchangeDeleteOk),
    changes: false,
  },
  {
    title: 'exchange.bind',
    needs: [write('exchange', 'logs'), read('exchange', 'orders')],
    ...call(methods.exchangeBind, { destination: 'logs', source: 'orders', routingKey: 'x' }, methods.exchangeBindOk),
  },
  {
    title: 'exchange.bind to a topic exchange',
    needs: [write('exchange', 'logs'), read('exchange', 'news'), readTopic('news', 'x.y')],
    ...call(methods.exchangeBind, { destination: 'logs', source: 'news', routingKey: 'x.y' }, methods.exchangeBindOk),
  },
  {
    title: 'exchange.unbind',
    needs: [write('exchange', 'logs'), read('exchange', 'orders')],
    ...call(
      methods.exchangeUnbind,
      { destination: 'logs', source: 'orders', routingKey: 'a.b' },
      methods.exchangeUnbindOk,
    ),
  },
  {
    title: 'exchange.unbind from a topic exchange',
    needs: [write('exchange', 'logs'), read('exchange', 'news'), readTopic('news', 'a.b')],
    ...call(
      methods.exchangeUnbind,
      { destination: 'logs', source: 'news', routingKey: 'a.b' },
      methods.exchangeUnbindOk,
    ),
  },
  {
    title: 'queue.declare',
    needs: [configure('queue', 'fresh')],
    ...call(methods.queueDeclare, { queue: 'fresh', durable: true }, methods.queueDeclareOk),
  },
  {
    title: 'queue.declare of one that is there',
    needs: [configure('queue', 'work')],
    ...call(methods.queueDeclare, { queue: 'work', durable: true }, methods.queueDeclareOk),
    changes: false,
  },
  {
    title: 'queue.declare, named by the broker',
    needs: [configure('queue', /amq\.gen-[\w-]+/)],
    ...call(methods.queueDeclare, { queue: '', exclusive: true }, methods.queueDeclareOk),
  },
  {
    title: 'queue.declare with x-dead-letter-exchange',
    needs: [configure('queue', 'fresh'), read('queue', 'fresh'), write('exchange', 'logs')],
    ...call(
      methods.queueDeclare,
      { queue: 'fresh', arguments: table({ 'x-dead-letter-exchange': 'logs' }) },
      methods.queueDeclareOk,
    ),
  },
  {
    title: 'queue.declare that dead-letters to the default exchange',
    needs: [configure('queue', 'fresh'), read('queue', 'fresh'), write('exchange', '')],
    ...call(
      methods.queueDeclare,
      { queue: 'fresh', arguments: table({ 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'work' }) },
      methods.queueDeclareOk,
    ),
  },
  {
    title: 'queue.declare, passive',
    needs: [],
    ...call(methods.queueDeclare, { queue: 'work', passive: true }, methods.queueDeclareOk),
    changes: false,
  },
  {
    title: 'queue.delete',
    needs: [configure('queue', 'work')],
    ...call(methods.queueDelete, { queue: 'work' }, methods.queueDeleteOk),
  },
  {
    title: 'queue.delete of one that is not there',
    needs: [configure('queue', 'nowhere')],
    ...call(methods.queueDelete, { queue: 'nowhere' }, methods.queueDeleteOk),
    changes: false,
  },
  {
    title: 'queue.bind',
    needs: [write('queue', 'work'), read('exchange', 'orders')],
    ...call(methods.queueBind, { queue: 'work', exchange: 'orders', routingKey: 'x' }, methods.queueBindOk),
  },
  {
    title: 'queue.bind to a topic exchange',
    needs: [write('queue', 'work'), read('exchange', 'news'), readTopic('news', 'x.#')],
    ...call(methods.queueBind, { queue: 'work', exchange: 'news', routingKey: 'x.#' }, methods.queueBindOk),
  },
  {
    title: 'queue.unbind',
    needs: [write('queue', 'work'), read('exchange', 'orders')],
    ...call(methods.queueUnbind, { queue: 'work', exchange: 'orders', routingKey: 'k' }, methods.queueUnbindOk),
  },
  {
    title: 'queue.unbind from a topic exchange',
    needs: [write('queue', 'work'), read('exchange', 'news'), readTopic('news', 'a.b')],
    ...call(methods.queueUnbind, { queue: 'work', exchange: 'news', routingKey: 'a.b' }, methods.queueUnbindOk),
  },
  {
    title: 'queue.unbind of a queue that is not there',
    needs: [write('queue', 'nowhere'), read('exchange', 'orders')],
    ...call(methods.queueUnbind, { queue: 'nowhere', exchange: 'orders', routingKey: 'k' }, methods.queueUnbindOk),
    changes: false,
  },
  {
    title: 'queue.purge',
    needs: [read('queue', 'work')],
    ...call(methods.queuePurge, { queue: 'work' }, methods.queuePurgeOk),
  },
  {
    title: 'basic.get',
    needs: [read('queue', 'work')],
    ...call(methods.basicGet, { queue: 'work', noAck: true }, methods.basicGetOk),
  },
  {
    title: 'basic.consume',
    needs: [read('queue', 'work')],
    ...call(methods.basicConsume, { queue: 'work' }, methods.basicConsumeOk),
  },
  {
    title: 'basic.consume from amq.rabbitmq.reply-to',
    needs: [],
    ...call(methods.basicConsume, { queue: 'amq.rabbitmq.reply-to', noAck: true }, methods.basicConsumeOk),
  },
  { title: 'basic.publish to an exchange', needs: [write('exchange', 'orders')], ...publish('orders', 'k') },
  { title: 'basic.publish to the default exchange', needs: [write('exchange', '')], ...publish('', 'work') },
  {
    title: 'basic.publish to a topic exchange',
    needs: [write('exchange', 'news'), writeTopic('news', 'a.b')],
    ...publish('news', 'a.b'),
  },
  {
    title: 'basic.publish to a topic exchange with CC and BCC',
    needs: [write('exchange', 'news'), writeTopic('news', 'x'), writeTopic('news', 'a.b'), writeTopic('news', 'y')],
    ...publish('news', 'x', headers({ CC: ['a.b'], BCC: ['y'] })),
  },
  {
    title: 'basic.publish of what is to be retained',
    needs: [write('exchange', 'amq.topic'), writeTopic('amq.topic', 'a.b')],
    ...publish('amq.topic', 'a.b', headers({ 'x-mqtt-retain': true })),
  },
  {
    title: 'basic.publish in a transaction',
    needs: [write('exchange', 'orders')],
    ...publish('orders', 'k'),
    reply: methods.txCommitOk,
    before: async (peer) => {
      await peer.call(1, methods.txSelect, {}, methods.txSelectOk);
    },
    sends: (peer) => {
      peer.publish(1, { exchange: 'orders', routingKey: 'k' }, 'body');
      peer.send(1, methods.txCommit);
    },
  },
];

const cases = casesOf(rows);
let server: AccessServer;
let port: number;
beforeAll(async () => {
  const nothing = { configure: '', write: '', read: '' };
  server = await AccessServer.start({
    ...usersOf(cases),
    nobody: { ...plainUser, permissions: { hidden: nothing } },
    writer: { ...plainUser, permissions: { transaction: { ...nothing, write: '^orders$' } } },
  });
  port = server.port('amqp');
});
afterAll(() => server?.stop());

/** Logged in as the user of the case, with the channels 1 and 2. */
async function open({ user, vhost }: { user: string; vhost: string }): Promise<AmqpPeer> {
  const peer = await AmqpPeer.openChannel(port, { user, password: 'pw', vhost });
  await peer.call(2, methods.channelOpen, {}, methods.channelOpenOk);
  return peer;
}

/** What is not there is refused in the same words, to those who may not use it. */
const hidden: readonly (readonly [string, (peer: AmqpPeer) => void, Need])[] = [
  [
    'basic.publish to an exchange',
    (peer) => peer.publish(1, { exchange: 'nowhere', routingKey: 'k' }, 'body'),
    write('exchange', 'nowhere'),
  ],
  ['basic.get', (peer) => peer.send(1, methods.basicGet, { queue: 'nowhere' }), read('queue', 'nowhere')],
  ['basic.consume', (peer) => peer.send(1, methods.basicConsume, { queue: 'nowhere' }), read('queue', 'nowhere')],
  ['queue.purge', (peer) => peer.send(1, methods.queuePurge, { queue: 'nowhere' }), read('queue', 'nowhere')],
  [
    'queue.bind',
    (peer) => peer.send(1, methods.queueBind, { queue: 'nowhere', exchange: 'orders' }),
    write('queue', 'nowhere'),
  ],
  [
    'exchange.bind',
    (peer) => peer.send(1, methods.exchangeBind, { destination: 'nowhere', source: 'orders' }),
    write('exchange', 'nowhere'),
  ],
];

describe('[RabbitMQ: access control] AMQP 0-9-1', () => {
  for (const each of cases) {
    test(each.title, async () => {
      const { row } = each;
      const vhost = server.makeWorld(each.vhost);
      const peer = await open(each);
      await row.before?.(peer);
      const before = snapshot(vhost);
      row.sends(peer);
      if (each.missing === null) {
        await peer.expect(1, row.reply);
        if (row.changes !== false) expect(snapshot(vhost)).not.toEqual(before);
        else expect(snapshot(vhost)).toEqual(before);
      } else {
        const { code, text, classId, methodId } = await peer.closed();
        expect({ code, classId, methodId }).toEqual({
          code: 403,
          classId: row.method.classId,
          methodId: row.method.methodId,
        });
        expect(text).toMatch(/^ACCESS_REFUSED - /);
        expect(text).toMatch(refusalOf(each));
        expect(snapshot(vhost)).toEqual(before);
        // the connection, and its other channel, live on
        await peer.call(2, methods.basicQos, { prefetchCount: 1 }, methods.basicQosOk);
        await peer.call(1, methods.channelOpen, {}, methods.channelOpenOk);
      }
      peer.destroy();
    });
  }

  test.each(hidden)('%s that is not there is refused as if it were', async (_title, sends, missing) => {
    const each: Case<Row> = { title: '', row: { title: '', needs: [] }, missing, user: 'nobody', vhost: 'hidden' };
    server.makeWorld('hidden');
    const peer = await open(each);
    sends(peer);
    const { code, text } = await peer.closed();
    expect(code).toBe(403);
    expect(text).toMatch(refusalOf(each));
    peer.destroy();
  });

  test('a refused publish takes the transaction with it', async () => {
    const vhost = server.makeWorld('transaction');
    const peer = await open({ user: 'writer', vhost: 'transaction' });
    await peer.call(1, methods.txSelect, {}, methods.txSelectOk);
    const before = snapshot(vhost);
    peer.publish(1, { exchange: 'orders', routingKey: 'k' }, 'allowed');
    peer.publish(1, { exchange: 'logs', routingKey: 'k' }, 'refused');
    peer.send(1, methods.txCommit);
    expect((await peer.closed()).text).toBe(
      "ACCESS_REFUSED - write access to exchange 'logs' in vhost 'transaction' refused for user 'writer'",
    );
    expect(snapshot(vhost)).toEqual(before);
    peer.destroy();
  });

  test('a virtual host in which the user has no permission is closed to them', async () => {
    server.makeWorld('closed');
    const peer = await AmqpPeer.connect(port);
    const opened = peer.handshake({ user: 'nobody', password: 'pw', vhost: 'closed' });
    await expect(opened).rejects.toThrow("NOT_ALLOWED - access to vhost 'closed' refused for user 'nobody'");
    peer.destroy();
  });
});
