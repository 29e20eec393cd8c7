import { describe, expect, test } from 'vitest';
import { useStomp } from '../../support/stomp-suite.ts';
import type { StompWire } from '../../support/stomp-wire.ts';

const { login, name } = useStomp();

test('[STOMP 1.2 §RECEIPT-2] the receipt comes before the first MESSAGE', async () => {
  const wire = await login();
  const queue = `/queue/${name()}`;
  await wire.publish(queue, 'waiting');
  await wire.subscribe('0', queue); // confirm() rejects when a MESSAGE comes first
  expect((await wire.next()).body.toString()).toBe('waiting');
});

test('[STOMP 1.2 §SUBSCRIBE ack Header-2][STOMP 1.2 §SUBSCRIBE ack Header-4] client is cumulative for its subscription, and what is not acked comes back redelivered', async () => {
  const wire = await login();
  const queue = `/queue/${name()}`;
  await wire.subscribe('0', queue, 'ack:client\n');
  const publisher = await login();
  for (const body of ['1', '2', '3']) await publisher.publish(queue, body);
  await wire.next();
  const second = await wire.next();
  await wire.next();
  await wire.confirm(`ACK\nid:${second.headers['ack']}\n\n\0`);
  wire.send('DISCONNECT\n\n\0');
  await wire.closed();
  const other = await login();
  await other.subscribe('0', queue);
  const back = await other.next();
  expect([back.body.toString(), back.headers['redelivered']]).toEqual(['3', 'true']);
});

test('[STOMP 1.2 §ACK-1] what was acked already, or never given, is an ERROR', async () => {
  const wire = await login();
  wire.send('ACK\nid:session-x@@1\nreceipt:5\n\n\0');
  const frame = await wire.next();
  expect([frame.command, frame.headers['message'], frame.headers['receipt-id']]).toEqual([
    'ERROR',
    'Message not found',
    '5',
  ]);
  await wire.closed();
});

test('[RabbitMQ] NACK goes back to the queue; with requeue:false to the dead letters, with its x-death', async () => {
  const wire = await login();
  const [queue, dead] = [name(), name()];
  await wire.subscribe('dead', `/queue/${dead}`);
  const args = `x-dead-letter-exchange:\nx-dead-letter-routing-key:${dead}\nack:client-individual\n`;
  await wire.subscribe('0', `/queue/${queue}`, args);
  wire.send(`SEND\ndestination:/queue/${queue}\nfoo:bar\n\nx\0`);
  const first = await wire.next();
  wire.send(`NACK\nid:${first.headers['ack']}\n\n\0`);
  const second = await wire.next();
  expect(second.headers['redelivered']).toBe('true');
  wire.send(`NACK\nid:${second.headers['ack']}\nrequeue:false\n\n\0`);
  const last = await wire.next();
  expect(last.headers).toMatchObject({
    subscription: 'dead',
    foo: 'bar',
    'x-first-death-queue': queue,
    'x-first-death-reason': 'rejected',
  });
});

describe('[STOMP 1.2 §BEGIN] transactions', () => {
  test('COMMIT does all, ABORT nothing, and an aborted ACK may be given again', async () => {
    const wire = await login();
    const queue = `/queue/${name()}`;
    await wire.subscribe('0', queue, 'ack:client-individual\n');
    await wire.publish('/topic/none', 'x');
    wire.send(
      `BEGIN\ntransaction:a\n\n\0SEND\ndestination:${queue}\ntransaction:a\n\naborted\0ABORT\ntransaction:a\n\n\0`,
    );
    wire.send(`BEGIN\ntransaction:a\n\n\0SEND\ndestination:${queue}\ntransaction:a\n\n1\0`);
    wire.send(`SEND\ndestination:${queue}\ntransaction:a\n\n2\0COMMIT\ntransaction:a\n\n\0`);
    const first = await wire.next();
    expect(first.body.toString()).toBe('1');
    expect((await wire.next()).body.toString()).toBe('2');
    wire.send(`BEGIN\ntransaction:b\n\n\0ACK\nid:${first.headers['ack']}\ntransaction:b\n\n\0`);
    await wire.confirm('ABORT\ntransaction:b\n\n\0');
    await wire.confirm(`ACK\nid:${first.headers['ack']}\n\n\0`);
  });

  for (const frame of ['COMMIT', 'ABORT']) {
    test(`[STOMP 1.2 §COMMIT-1][STOMP 1.2 §ABORT-1] ${frame} of an unknown transaction is an ERROR`, async () => {
      const wire = await login();
      wire.send(`${frame}\ntransaction:unknown\n\n\0`);
      expect((await wire.next()).headers['message']).toBe('Bad transaction');
      await wire.closed();
    });
  }
});

describe('destinations', () => {
  for (const [from, to, shown] of [
    ['/queue/Q', '/queue/Q', '/queue/Q'],
    ['Q', '/amq/queue/Q', '/queue/Q'],
    ['/topic/Q.a.b', '/topic/Q.*.b', '/topic/Q.a.b'],
    ['/topic/Q.a.b', '/topic/Q.>', '/topic/Q.a.b'],
    ['/exchange/amq.direct/Q', '/exchange/amq.direct/Q', '/exchange/amq.direct/Q'],
    ['/topic/VirtualTopic.Q', '/queue/Consumer.A.VirtualTopic.Q', '/topic/VirtualTopic.Q'],
    ['/queue/Q,/queue/Q-other', '/queue/Q', '/queue/Q'],
    ['/queue/Q/part', '/queue/Q/part', '/queue/Q/part'],
  ] as const) {
    test(`${from} reaches ${to}`, async () => {
      const [q, wire] = [name(), await login()];
      if (to.startsWith('/amq/')) await wire.publish(`/queue/${q}`, 'first', 'persistent:true\n');
      await wire.subscribe('0', to.replace('Q', q));
      wire.send(`SEND\ndestination:${from.replaceAll('Q', q)}\n\nfirst\0`);
      const frame = await wire.next();
      expect([frame.body.toString(), frame.headers['destination']]).toEqual(['first', shown.replace('Q', q)]);
    });
  }

  test('[RabbitMQ] a reply-to of /temp-queue/ is subscribed to implicitly, and answered', async () => {
    const [requester, responder, queue] = [await login(), await login(), `/queue/${name()}`];
    await responder.subscribe('0', queue);
    requester.send(`SEND\ndestination:${queue}\nreply-to:/temp-queue/foo\ncorrelation-id:1\n\nask\0`);
    const request = await responder.next();
    expect(request.headers['reply-to']).toMatch(/^\/reply-queue\/amq\.gen-/);
    responder.send(`SEND\ndestination:${request.headers['reply-to']}\ncorrelation-id:1\n\nanswer\0`);
    const answer = await requester.next();
    expect(answer.headers).toMatchObject({ subscription: '/temp-queue/foo', 'correlation-id': '1' });
  });

  for (const [dialect, subscribed, ended] of [
    ['RabbitMQ', 'id:d\ndurable:true\nauto-delete:false\n', 'id:d\ndurable:true\nauto-delete:false\n'],
    ['ActiveMQ', 'id:d\nactivemq.subscriptionName:s\n', 'activemq.subscriptionName:s\n'],
    ['Artemis', 'id:d\ndurable-subscription-name:s\n', 'id:d\ndurable-subscription-name:s\n'],
  ] as const) {
    test(`[${dialect}] a durable subscription outlives its connection, and is ended by UNSUBSCRIBE`, async () => {
      const [topic, clientId] = [`/topic/${name()}`, name()];
      const again = async (): Promise<StompWire> => {
        const wire = await login('1.2', { 'client-id': clientId });
        await wire.confirm(`SUBSCRIBE\ndestination:${topic}\n${subscribed}\n\0`);
        return wire;
      };
      const first = await again();
      await first.confirm('DISCONNECT\n\n\0');
      const publisher = await login();
      await publisher.publish(topic, 'missed', 'persistent:true\n');
      const second = await again();
      expect(await second.bodies(1)).toEqual(['missed']);
      await second.confirm(`UNSUBSCRIBE\n${ended}\n\0`);
      await publisher.publish(topic, 'lost');
      const third = await again();
      await publisher.publish(topic, 'seen');
      expect(await third.bodies(1)).toEqual(['seen']);
    });
  }
});

describe('selectors', () => {
  test('[ActiveMQ] text headers are compared as numbers; a topic drops the rest, a queue keeps it for others', async () => {
    for (const kind of ['topic', 'queue']) {
      const [wire, destination] = [await login(), `/${kind}/${name()}`];
      await wire.subscribe('s', destination, "selector:price > 10 AND color LIKE 'r%'\n");
      await wire.publish(destination, 'no', 'price:9\ncolor:red\n');
      wire.send(`SEND\ndestination:${destination}\nprice:11\ncolor:red\n\nyes\0`);
      expect(await wire.bodies(1)).toEqual(['yes']);
      await wire.subscribe('all', destination);
      if (kind === 'queue') expect(await wire.bodies(1)).toEqual(['no']);
    }
  });

  test('one that is none is an ERROR', async () => {
    const wire = await login();
    wire.send(`SUBSCRIBE\nid:0\ndestination:/topic/a\nselector:price >\n\n\0`);
    expect((await wire.next()).headers['message']).toBe('precondition_failed');
    await wire.closed();
  });
});

test('[STOMP 1.2 §UNSUBSCRIBE-1][STOMP 1.2 §UNSUBSCRIBE-2] nothing more comes; an unknown id is an ERROR', async () => {
  const [wire, queue] = [await login(), `/queue/${name()}`];
  await wire.subscribe('0', queue);
  await wire.subscribe('1', queue);
  await wire.confirm('UNSUBSCRIBE\nid:0\n\n\0');
  wire.send(`SEND\ndestination:${queue}\n\na\0SEND\ndestination:${queue}\n\nb\0`);
  expect([(await wire.next()).headers['subscription'], (await wire.next()).headers['subscription']]).toEqual([
    '1',
    '1',
  ]);
  wire.send('UNSUBSCRIBE\nid:0\nreceipt:9\n\n\0');
  expect((await wire.next()).headers).toMatchObject({ message: 'No subscription found', 'receipt-id': '9' });
  await wire.closed();
});
