import { describe, expect, test } from 'vitest';
import { StompRig } from '../../support/stomp-rig.ts';

const bodiesAndIds = (frames: readonly { body: Buffer; headers: Readonly<Record<string, string>> }[]): string[] =>
  frames.map(({ body, headers }) => `${headers['subscription']}:${body}`);

describe('[STOMP 1.2 §SUBSCRIBE id Header]', () => {
  test('the same topic twice: each subscription gets every message', async () => {
    const peer = await new StompRig().login();
    await peer.subscribe('a', '/topic/t');
    await peer.subscribe('b', '/topic/t');
    peer.send('SEND\ndestination:/topic/t\n\nx\0');
    expect(bodiesAndIds(await peer.frames()).sort()).toEqual(['a:x', 'b:x']);
  });

  test('the same queue twice: they take turns', async () => {
    const peer = await new StompRig().login();
    await peer.subscribe('a', '/queue/q');
    await peer.subscribe('b', '/queue/q');
    for (const body of '1234') peer.send(`SEND\ndestination:/queue/q\n\n${body}\0`);
    expect(bodiesAndIds(await peer.frames())).toEqual(['a:1', 'b:2', 'a:3', 'b:4']);
  });

  test('[STOMP 1.2 §SUBSCRIBE id Header-2] different subscriptions must have different ids', async () => {
    const peer = await new StompRig().login();
    await peer.subscribe('1', '/queue/a');
    peer.send('SUBSCRIBE\nid:1\ndestination:/queue/b\nreceipt:r\n\n\0');
    const error = await peer.error();
    expect(error.headers).toMatchObject({ message: 'Duplicated subscription identifier', 'receipt-id': 'r' });
    expect(error.body.toString()).toBe("A subscription identified by 'T_1' already exists.");
  });

  for (const version of ['1.1', '1.2']) {
    test(`[STOMP 1.2 §SUBSCRIBE id Header-1][STOMP 1.1 §SUBSCRIBE id Header-1] without id: ERROR`, async () => {
      const peer = await new StompRig().login(`accept-version:${version}`);
      peer.send('SUBSCRIBE\ndestination:/queue/a\n\n\0');
      expect((await peer.error()).headers['message']).toBe('Missing header');
    });
  }

  test('[STOMP 1.0 §SUBSCRIBE-2][STOMP 1.0 §UNSUBSCRIBE-1] the id is optional: MESSAGE has no subscription then, UNSUBSCRIBE the destination', async () => {
    const peer = await new StompRig().login('x:');
    await peer.confirm('SUBSCRIBE\ndestination: /queue/a\n\n\0');
    peer.send('SEND\ndestination:/queue/a\n\nx\0');
    const [message] = await peer.frames();
    expect(message?.lines.map((line) => line.split(':')[0])).toEqual([
      'destination',
      'message-id',
      'redelivered',
      'content-length',
    ]);
    await peer.confirm('UNSUBSCRIBE\ndestination:/queue/a\n\n\0');
    peer.send('SEND\ndestination:/queue/a\n\nx\0');
    await peer.silence();
    peer.send('UNSUBSCRIBE\ndestination:/queue/a\n\n\0');
    expect((await peer.error()).body.toString()).toContain(`"destination='/queue/a'" not found.`);
  });

  test('ids that the broker uses for reply queues are refused', async () => {
    for (const command of ['SUBSCRIBE', 'UNSUBSCRIBE']) {
      const peer = await new StompRig().login();
      peer.send(`${command}\nid:/temp-queue/x\ndestination:/queue/a\n\n\0`);
      expect((await peer.error()).headers['message']).toBe('Invalid id');
    }
  });
});

test('[STOMP 1.2 §SUBSCRIBE-1][STOMP 1.2 §SUBSCRIBE-2] without destination, or of what cannot be: ERROR with the receipt-id', async () => {
  for (const [headers, message] of [
    ['', 'Missing destination'],
    ['destination:/nowhere/x\n', 'Unknown destination'],
    ['destination:/amq/queue/none\n', 'not_found'],
    ['destination:/exchange/none/k\n', 'not_found'],
    ['destination:/queue/q\nx-max-length:many\n', 'Invalid header'],
    ['destination:/queue/q\nx-overflow:nonsense\n', 'precondition_failed'],
    ['destination:/queue/amq.mine\n', 'access_refused'],
    ['destination:/topic/t\nbrowser:true\n', 'Invalid destination'],
    ['destination:/queue/q,/topic/t\nselector:a = 1\n', 'Not implemented'],
  ] as const) {
    const peer = await new StompRig().login();
    peer.send(`SUBSCRIBE\nid:0\nreceipt:r1\n${headers}\n\0`);
    const error = await peer.error();
    expect([error.headers['message'], error.headers['receipt-id']]).toEqual([message, 'r1']);
  }
});

describe('[STOMP 1.2 §MESSAGE]', () => {
  for (const [version, id, shown] of [
    ['1.2', 'a\\cb', 'a\\cb'],
    ['1.1', 'a\\cb', 'a\\cb'],
    ['1.0', 'a:b', 'a:b'],
  ]) {
    test(`[STOMP 1.2 §MESSAGE-1][STOMP 1.2 §MESSAGE-2][STOMP 1.2 §MESSAGE-3][STOMP 1.2 §SEND-3][STOMP 1.1 §MESSAGE-1][STOMP 1.0 §MESSAGE-1] subscription, destination and a message-id that is unique; the id ${id} comes back`, async () => {
      const peer = await new StompRig().login(version === '1.0' ? 'x:' : `accept-version:${version}`);
      await peer.confirm(`SUBSCRIBE\nid:${id}\ndestination:/topic/t\n\n\0`);
      peer.send('SEND\ndestination:/topic/t\nfoo:bar\n\nx\0SEND\ndestination:/topic/t\n\ny\0');
      const [first, second] = await peer.frames();
      expect(first?.headers).toMatchObject({ subscription: shown, destination: '/topic/t', foo: 'bar' });
      expect(first?.headers['content-length']).toBe('1');
      expect(first?.headers['message-id']).not.toBe(second?.headers['message-id']);
    });
  }
});

describe('[STOMP 1.2 §UNSUBSCRIBE]', () => {
  test('what was delivered may still be acked [RabbitMQ]', async () => {
    const peer = await new StompRig().login();
    await peer.subscribe('0', '/queue/q', 'ack:client-individual\n');
    peer.send('SEND\ndestination:/queue/q\n\nx\0');
    const [message] = await peer.frames();
    await peer.confirm('UNSUBSCRIBE\nid:0\n\n\0');
    await peer.confirm(`ACK\nid:${message?.headers['ack']}\n\n\0`);
    await peer.subscribe('1', '/queue/q');
    await peer.silence();
  });

  test('[ActiveMQ] what was delivered and not acked goes back', async () => {
    const peer = await new StompRig({ dialect: 'activemq' }).login();
    await peer.subscribe('0', '/queue/q', 'ack:client-individual\n');
    peer.send('SEND\ndestination:/queue/q\n\nx\0');
    await peer.frames();
    await peer.confirm('UNSUBSCRIBE\nid:0\n\n\0');
    await peer.subscribe('1', '/queue/q');
    expect((await peer.next()).headers).toMatchObject({ subscription: '1', redelivered: 'true' });
  });

  test('[STOMP 1.2 §UNSUBSCRIBE-2] without id: ERROR', async () => {
    const peer = await new StompRig().login();
    peer.send('UNSUBSCRIBE\ndestination:/queue/a\n\n\0');
    expect((await peer.error()).headers['message']).toBe('Missing destination or id');
  });
});

test('a queue that is deleted under its subscription: ERROR with the subscription, and the end', async () => {
  const rig = new StompRig();
  const peer = await rig.login();
  await peer.subscribe('s', '/queue/q');
  rig.core.vhost.deleteQueue(rig.core.client, 'q', false, false);
  const error = await peer.error();
  expect(error.headers).toMatchObject({ message: 'Server cancelled subscription', subscription: 's' });
  expect(error.body.toString()).toBe(
    "The server has canceled a subscription.\nNo more messages will be delivered for id='s'.\n",
  );
});

describe('headers of SUBSCRIBE', () => {
  test('x-priority: the higher one is served first while it is ready', async () => {
    const peer = await new StompRig().login();
    await peer.subscribe('low', '/queue/q', 'ack:client-individual\nprefetch-count:2\n');
    await peer.subscribe('high', '/queue/q', 'ack:client-individual\nprefetch-count:2\nx-priority:5\n');
    for (const body of '123') peer.send(`SEND\ndestination:/queue/q\n\n${body}\0`);
    expect(bodiesAndIds(await peer.frames())).toEqual(['high:1', 'high:2', 'low:3']);
  });

  test('exclusive: a queue of this connection alone, which goes with it', async () => {
    const rig = new StompRig();
    const peer = await rig.login();
    await peer.subscribe('0', '/queue/mine', 'exclusive:true\n');
    const other = await rig.login();
    other.send('SUBSCRIBE\nid:0\ndestination:/queue/mine\n\n\0');
    expect((await other.error()).headers['message']).toBe('resource_locked');
    await peer.confirm('DISCONNECT\n\n\0');
    expect(rig.core.vhost.queues.has('mine')).toBe(false);
  });

  for (const header of ['no-local:true', 'activemq.noLocal:true']) {
    test(`${header}: a topic's messages of others only`, async () => {
      const rig = new StompRig();
      const [peer, other] = [await rig.login(), await rig.login()];
      await peer.subscribe('0', '/topic/t', `${header}\n`);
      await peer.publish('/topic/t', 'own');
      await other.publish('/topic/t', "another's");
      expect((await peer.frames()).map(({ body }) => body.toString())).toEqual(["another's"]);
    });
  }

  test('what it says further is the binding of a headers exchange', async () => {
    const peer = await new StompRig().login();
    await peer.subscribe('any', '/exchange/amq.headers', 'x-match:any\ncolor:red\nsize:big\n');
    await peer.subscribe('all', '/exchange/amq.headers', 'x-match:all\ncolor:red\nsize:big\n');
    peer.send('SEND\ndestination:/exchange/amq.headers\ncolor:red\n\n1\0');
    peer.send('SEND\ndestination:/exchange/amq.headers\ncolor:red\nsize:big\n\n2\0');
    peer.send('SEND\ndestination:/exchange/amq.headers\n\n3\0');
    expect(bodiesAndIds(await peer.frames()).sort()).toEqual(['all:2', 'any:1', 'any:2']);
  });

  test("selector: of a queue, the rest stays for others; of a topic, it is nobody's", async () => {
    const selector = "selector:JMSPriority >= 5 AND color IN ('red', 'blue') AND n BETWEEN 1 AND 3 AND gone IS NULL\n";
    for (const kind of ['queue', 'topic']) {
      const peer = await new StompRig().login();
      await peer.subscribe('some', `/${kind}/s`, selector);
      for (const [body, headers] of [
        ['yes', 'priority:5\ncolor:red\nn:2'],
        ['priority', 'priority:4\ncolor:red\nn:2'],
        ['n', 'priority:9\ncolor:red\nn:4'],
        ['color', 'priority:9\nn:1'],
        ['gone', 'priority:9\ncolor:blue\nn:1\ngone:no'],
      ]) {
        peer.send(`SEND\ndestination:/${kind}/s\n${headers}\n\n${body}\0`);
      }
      expect(bodiesAndIds(await peer.frames())).toEqual(['some:yes']);
      peer.send(`SUBSCRIBE\nid:all\ndestination:/${kind}/s\n\n\0`);
      const rest = kind === 'queue' ? ['all:priority', 'all:n', 'all:color', 'all:gone'] : [];
      expect(bodiesAndIds(await peer.frames())).toEqual(rest);
    }
  });
});
