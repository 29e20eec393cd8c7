import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { StompWire, type WireFrame } from '../../support/stomp-wire.ts';
import {
  AccessServer,
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

interface StompRow extends Row {
  /** Taken before it, with receipts. */
  readonly before?: readonly string[];
  /** Without its receipt, which says that it was done. */
  readonly frame: string;
}

const generated = /stomp-subscription-[\w-]+/;

const topicNeeds = (queue: string | RegExp, key: string, exchange = 'amq.topic'): Need[] => [
  configure('queue', queue),
  write('queue', queue),
  read('queue', queue),
  read('exchange', exchange),
  readTopic(exchange, key),
];

const send = (destination: string, headers = ''): string => `SEND\ndestination:${destination}\n${headers}\nbody\0`;
const subscribe = (destination: string, headers = ''): string =>
  `SUBSCRIBE\nid:1\ndestination:${destination}\nack:client\n${headers}\n\0`;

const rows: StompRow[] = [
  { title: 'SEND to an exchange', needs: [write('exchange', 'orders')], frame: send('/exchange/orders/k') },
  {
    title: 'SEND to a topic exchange',
    needs: [write('exchange', 'news'), writeTopic('news', 'a.b')],
    frame: send('/exchange/news/a.b'),
  },
  {
    title: 'SEND to a topic',
    needs: [write('exchange', 'amq.topic'), writeTopic('amq.topic', 'a.b')],
    frame: send('/topic/a.b'),
  },
  {
    title: 'SEND of what is to be retained',
    needs: [write('exchange', 'amq.topic'), writeTopic('amq.topic', 'kept')],
    frame: send('/topic/kept', 'x-mqtt-retain:true\n'),
  },
  { title: 'SEND to a queue', needs: [write('exchange', '')], frame: send('/queue/work') },
  {
    title: 'SEND to a queue that is made for it',
    needs: [write('exchange', ''), configure('queue', 'fresh')],
    frame: send('/queue/fresh'),
  },
  { title: 'SEND to a queue as it is', needs: [write('exchange', '')], frame: send('/amq/queue/work') },
  {
    title: 'SEND with a temporary queue to reply to',
    needs: [write('exchange', ''), configure('queue', /amq\.gen-[\w-]+/), read('queue', /amq\.gen-[\w-]+/)],
    frame: send('/amq/queue/work', 'reply-to:/temp-queue/answers\n'),
  },
  {
    title: 'SEND in a transaction',
    needs: [write('exchange', 'orders')],
    before: ['BEGIN\ntransaction:t\n\n\0'],
    frame: `${send('/exchange/orders/k', 'transaction:t\n')}COMMIT\ntransaction:t\nreceipt:done\n\n\0`,
  },
  {
    title: 'SEND to several queues of ActiveMQ',
    needs: [write('exchange', ''), configure('queue', 'fresh')],
    frame: send('/queue/fresh,/queue/work'),
  },
  { title: 'SUBSCRIBE to a queue', needs: [read('queue', 'work')], frame: subscribe('/queue/work') },
  { title: 'SUBSCRIBE to a queue as it is', needs: [read('queue', 'work')], frame: subscribe('/amq/queue/work') },
  {
    title: 'SUBSCRIBE to a queue that is made for it',
    needs: [configure('queue', 'fresh'), read('queue', 'fresh')],
    frame: subscribe('/queue/fresh'),
  },
  {
    title: 'SUBSCRIBE to a queue that dead-letters',
    needs: [configure('queue', 'fresh'), read('queue', 'fresh'), write('exchange', 'logs')],
    frame: subscribe('/queue/fresh', 'x-dead-letter-exchange:logs\n'),
  },
  {
    title: 'SUBSCRIBE to an exchange',
    needs: [
      configure('queue', generated),
      write('queue', generated),
      read('queue', generated),
      read('exchange', 'orders'),
    ],
    frame: subscribe('/exchange/orders/k'),
  },
  {
    title: 'SUBSCRIBE to a topic exchange',
    needs: topicNeeds(generated, 'a.*', 'news'),
    frame: subscribe('/exchange/news/a.*'),
  },
  { title: 'SUBSCRIBE to a topic', needs: topicNeeds(generated, 'a.#'), frame: subscribe('/topic/a.#') },
  {
    title: 'SUBSCRIBE to a temporary queue',
    needs: [configure('queue', /amq\.gen-[\w-]+/), read('queue', /amq\.gen-[\w-]+/)],
    frame: subscribe('/temp-queue/mine'),
  },
  {
    title: 'durable SUBSCRIBE, by RabbitMQ',
    needs: topicNeeds('lasting', 'a.b'),
    frame: subscribe('/topic/a.b', 'durable:true\nauto-delete:false\nx-queue-name:lasting\n'),
  },
  {
    title: 'durable SUBSCRIBE, by ActiveMQ',
    needs: topicNeeds('c1.lasting', 'a.b'),
    frame: subscribe('/topic/a.b', 'activemq.subscriptionName:lasting\n'),
  },
  {
    title: 'SUBSCRIBE to a virtual topic of ActiveMQ',
    needs: [
      read('queue', 'Consumer.A.VirtualTopic.T'),
      configure('queue', 'Consumer.A.VirtualTopic.T'),
      write('queue', 'Consumer.A.VirtualTopic.T'),
      read('exchange', 'amq.topic'),
      readTopic('amq.topic', 'VirtualTopic.T'),
    ],
    frame: subscribe('/queue/Consumer.A.VirtualTopic.T'),
  },
  {
    title: 'UNSUBSCRIBE from a durable subscription',
    needs: [configure('queue', 'c1.gone')],
    frame: 'UNSUBSCRIBE\nid:1\nactivemq.subscriptionName:gone\n\n\0',
  },
];

const versions = ['1.2', '1.1', '1.0'] as const;
const cases = versions.map((version, i) => [version, casesOf(rows, `s${i}`)] as const);
let server: AccessServer;
beforeAll(async () => {
  server = await AccessServer.start({
    ...usersOf(cases.flatMap(([, each]) => each)),
    nobody: plainUserWithout(),
  });
});
afterAll(() => server?.stop());

function plainUserWithout() {
  return { ...plainUser, permissions: {} };
}

async function connect(user: string, vhost: string, version: string): Promise<{ wire: StompWire; answer: WireFrame }> {
  const wire = await StompWire.open(server.port('stomp'));
  const accept = version === '1.0' ? '' : `accept-version:${version}\n`;
  wire.send(`CONNECT\n${accept}host:${vhost}\nlogin:${user}\npasscode:pw\nclient-id:c1\n\n\0`);
  return { wire, answer: await wire.next() };
}

const withReceipt = (frame: string): string => {
  return frame.includes('receipt:') ? frame : frame.replace('\n', '\nreceipt:done\n');
};

/** The next frame that is no MESSAGE: what waits in a queue may come before the receipt. */
async function answerOf(wire: StompWire): Promise<WireFrame> {
  for (;;) {
    const frame = await wire.next();
    if (frame.command !== 'MESSAGE') return frame;
  }
}

describe.each(cases)('STOMP %s', (version, each) => {
  for (const one of each) {
    test(one.title, async () => {
      const { row, missing, user, vhost: name } = one;
      const vhost = server.makeWorld(name);
      const { wire, answer } = await connect(user, name, version);
      expect(answer.command).toBe('CONNECTED');
      const other = (await connect(user, name, version)).wire;
      for (const frame of row.before ?? []) await wire.confirm(frame);
      const before = snapshot(vhost);
      wire.send(withReceipt(row.frame));
      const reply = await answerOf(wire);
      if (missing === null) {
        expect([reply.command, reply.headers['receipt-id']]).toEqual(['RECEIPT', 'done']);
        expect(snapshot(vhost)).not.toEqual(before);
      } else {
        expect([reply.command, reply.headers['message']]).toEqual(['ERROR', 'access_refused']);
        expect(reply.body.toString()).toMatch(/^ACCESS_REFUSED - /);
        expect(reply.body.toString().trimEnd()).toMatch(refusalOf(one));
        await wire.closed();
        expect(snapshot(vhost)).toEqual(before);
        await other.confirm('BEGIN\ntransaction:t\n\n\0'); // the user's other connection lives on
      }
      wire.destroy();
      other.destroy();
    });
  }

  test('a virtual host in which the user has no permission is closed to them', async () => {
    server.makeWorld(`closed-${version}`);
    const { wire, answer } = await connect('nobody', `closed-${version}`, version);
    expect([answer.command, answer.headers['message']]).toEqual(['ERROR', 'Bad CONNECT']);
    expect(answer.body.toString()).toBe(`Virtual host 'closed-${version}' access denied`);
    await wire.closed();
  });
});
