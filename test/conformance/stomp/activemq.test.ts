import { describe, expect, test } from 'vitest';
import { type RigPeer, StompRig } from '../../support/stomp-rig.ts';

/** What clients of ActiveMQ Classic and Artemis are used to, by the headings of their STOMP pages. */

const bodies = (frames: readonly { body: Buffer }[]): string[] => frames.map(({ body }) => body.toString());

async function rigged(connect = 'accept-version:1.2'): Promise<[StompRig, RigPeer]> {
  const rig = new StompRig({ dialect: 'activemq' });
  return [rig, await rig.login(connect)];
}

describe('[ActiveMQ] which dialect', () => {
  test.each([
    ['SUBSCRIBE\nid:x\ndestination:/queue/other\nactivemq.prefetchSize:1\n\n\0'],
    ['SUBSCRIBE\nid:x\ndestination:/topic/other.>\n\n\0'],
    ['SUBSCRIBE\nid:x\ndestination:/queue/other.>\n\n\0'],
    ['SUBSCRIBE\nid:x\ndestination:/queue/other.*.x\n\n\0'],
    ['SEND\ndestination:/queue/other/part\n\nx\0'],
    ['SEND\ndestination:/queue/other,/queue/another\n\nx\0'],
    ['SUBSCRIBE\nid:x\ndestination:/temp-topic/t\n\n\0'],
    ['SUBSCRIBE\nid:x\ndestination:/queue/Consumer.A.VirtualTopic.T\n\n\0'],
  ])('auto: %j shows a client of ActiveMQ, whose NACK does not requeue', async (shown) => {
    const peer = await new StompRig().login();
    peer.send(shown);
    await peer.subscribe('0', '/queue/q', 'ack:client-individual\n');
    peer.send('SEND\ndestination:/queue/q\n\nx\0');
    const message = await peer.next();
    peer.send(`NACK\nid:${message.headers['ack']}\n\n\0`);
    await peer.silence();
  });

  test('rabbitmq: none of these means anything else', async () => {
    const rig = new StompRig({ dialect: 'rabbitmq' });
    const peer = await rig.login();
    await peer.subscribe('0', '/queue/Consumer.A.VirtualTopic.T', 'ack:client-individual\nactivemq.prefetchSize:1\n');
    await peer.subscribe('1', '/topic/a.>');
    await peer.subscribe('2', '/queue/a.>');
    await peer.publish('/queue/a.b', 'not for a.>');
    await peer.publish('/topic/VirtualTopic.T', 'not for the queue');
    await peer.publish('/topic/a.b', 'not for the topic');
    await peer.silence();
  });
});

describe('[ActiveMQ] NACK', () => {
  test('a persistent message goes to ActiveMQ.DLQ, another is dropped', async () => {
    const [rig, peer] = await rigged();
    await peer.subscribe('0', '/queue/q', 'ack:client\n');
    peer.send('SEND\ndestination:/queue/q\n\nfleeting\0');
    peer.send('SEND\ndestination:/queue/q\npersistent:true\nfoo:bar\n\nkept\0');
    const messages = await peer.frames();
    peer.send(`NACK\nid:${messages.at(-1)?.headers['ack']}\n\n\0`);
    await peer.silence();
    await peer.subscribe('dlq', '/queue/ActiveMQ.DLQ');
    const dead = await peer.frames();
    expect(bodies(dead)).toEqual(['kept']);
    expect(dead[0]?.headers).toMatchObject({
      destination: '/queue/ActiveMQ.DLQ',
      foo: 'bar',
      'x-first-death-queue': 'q',
      'x-first-death-reason': 'rejected',
    });
    expect(rig.core.vhost.queues.get('ActiveMQ.DLQ')?.spec.durable).toBe(true);
  });

  test('in a transaction too; and a queue with dead letters of its own keeps to them', async () => {
    const [rig, peer] = await rigged();
    rig.core.declare('dead');
    await peer.subscribe('0', '/queue/a', 'ack:client-individual\n');
    await peer.subscribe(
      '1',
      '/queue/b',
      'ack:client-individual\nx-dead-letter-exchange:\nx-dead-letter-routing-key:dead\n',
    );
    for (const queue of ['a', 'b']) {
      peer.send(`SEND\ndestination:/queue/${queue}\npersistent:true\n\n${queue}\0`);
      const { headers } = await peer.next();
      peer.send(`BEGIN\ntransaction:t\n\n\0NACK\nid:${headers['ack']}\ntransaction:t\n\n\0`);
      await peer.confirm('COMMIT\ntransaction:t\n\n\0');
    }
    expect(rig.core.vhost.queues.get('ActiveMQ.DLQ')?.counts.ready).toBe(1);
    expect(rig.core.vhost.queues.get('dead')?.counts.ready).toBe(1);
  });
});

describe('[ActiveMQ] text and bytes', () => {
  test('a counted body is a bytes message, another one text, which goes out without its length', async () => {
    const [, peer] = await rigged();
    await peer.subscribe('0', '/queue/q');
    peer.send('SEND\ndestination:/queue/q\n\ntext\0SEND\ndestination:/queue/q\ncontent-length:5\n\nb\0tes\0');
    const [text, octets] = await peer.frames();
    expect([text?.body.toString(), text?.headers['content-length']]).toEqual(['text', undefined]);
    expect([octets?.body.toString(), octets?.headers['content-length']]).toEqual(['b\0tes', '5']);
  });

  test('to a client of RabbitMQ both are counted', async () => {
    const [rig, peer] = await rigged();
    const other = await rig.login();
    [...rig.door.connections].at(-1)!.dialect = 'rabbitmq';
    await other.subscribe('0', '/queue/q');
    peer.send('SEND\ndestination:/queue/q\n\ntext\0');
    await peer.settle();
    expect((await other.next()).headers['content-length']).toBe('4');
  });
});

describe('[ActiveMQ §Stomp extensions for JMS message semantics]', () => {
  test('expires, in ms since the epoch: shown as it came, and over when it is past', async () => {
    const [rig, peer] = await rigged();
    const expires = rig.core.clock.nowMs + 5000;
    for (const at of [expires, expires + 5000, 0]) await peer.publish('/queue/q', String(at), `expires:${at}\n`);
    rig.core.clock.advance(6000);
    await peer.subscribe('0', '/queue/q');
    expect((await peer.frames()).map(({ headers }) => headers['expires'])).toEqual([String(expires + 5000), '0']);
  });

  test('a time to live is shown to it as expires', async () => {
    const [rig, peer] = await rigged();
    await peer.subscribe('0', '/queue/q');
    rig.core.publish('', 'q', 'x', { ttlMs: 5000 });
    expect((await peer.next()).headers['expires']).toBe(String(rig.core.clock.nowMs + 5000));
  });

  test('correlation-id, type, priority, timestamp and JMSXGroupID come as they were sent', async () => {
    const [, peer] = await rigged();
    await peer.subscribe('0', '/queue/q');
    const lines = ['correlation-id:c', 'type:t', 'priority:7', 'JMSXGroupID:g', 'JMSXGroupSeq:1', 'timestamp:5'];
    peer.send(`SEND\ndestination:/queue/q\n${lines.join('\n')}\n\nx\0`);
    expect((await peer.next()).lines).toEqual(expect.arrayContaining(lines));
  });

  test('message-id, redelivered, subscription and ack of a SEND are not copied', async () => {
    const [, peer] = await rigged();
    await peer.subscribe('0', '/queue/q');
    const evil = ['message-id', 'redelivered', 'subscription', 'ack'].map((name) => `${name}:evil\n`).join('');
    peer.send(`SEND\ndestination:/queue/q\n${evil}kept:1\n\nx\0`);
    const { lines, headers } = await peer.next();
    expect(lines.join()).not.toContain('evil');
    expect(headers['kept']).toBe('1');
  });

  test("selectors see JMS' names", async () => {
    const [, peer] = await rigged();
    await peer.subscribe('0', '/queue/q', "selector:JMSType = 't' AND JMSCorrelationID = 'c' AND JMSXGroupID = 'g'\n");
    peer.send('SEND\ndestination:/queue/q\ntype:t\ncorrelation-id:c\nJMSXGroupID:g\n\nyes\0');
    peer.send('SEND\ndestination:/queue/q\ntype:t\ncorrelation-id:c\nJMSXGroupID:h\n\nno\0');
    expect(bodies(await peer.frames())).toEqual(['yes']);
  });
});

describe('[ActiveMQ §Using Temporary Destinations]', () => {
  test('/temp-queue/ may be subscribed to and sent to, and is shown to its owner by its name', async () => {
    const [rig, peer] = await rigged();
    await peer.subscribe('0', '/temp-queue/foo');
    peer.send('SEND\ndestination:/temp-queue/foo\n\nown\0');
    expect((await peer.next()).headers).toMatchObject({ subscription: '0', destination: '/temp-queue/foo' });
    const responder = await rig.login();
    await responder.subscribe('0', '/queue/asks');
    peer.send('SEND\ndestination:/queue/asks\nreply-to:/temp-queue/foo\n\nask\0');
    await peer.settle();
    const request = await responder.next();
    await responder.publish(request.headers['reply-to']!, 'answer');
    const answers = await peer.frames();
    expect(answers.map(({ body, headers }) => `${headers['subscription']} ${headers['destination']} ${body}`)).toEqual([
      '0 /temp-queue/foo answer',
    ]);
  });

  test('/temp-topic/: each subscription gets what is sent there, by its owner or to its reply-to', async () => {
    const [rig, peer] = await rigged();
    await peer.subscribe('a', '/temp-topic/t');
    await peer.subscribe('b', '/temp-topic/t');
    const responder = await rig.login();
    await responder.subscribe('0', '/queue/asks');
    peer.send('SEND\ndestination:/queue/asks\nreply-to:/temp-topic/t\n\nask\0');
    await peer.settle();
    await responder.publish((await responder.next()).headers['reply-to']!, 'answer');
    const answers = await peer.frames();
    expect(answers.map(({ headers }) => `${headers['subscription']} ${headers['destination']}`).sort()).toEqual([
      'a /temp-topic/t',
      'b /temp-topic/t',
    ]);
  });

  test("they are their connection's own", async () => {
    const [rig, peer] = await rigged();
    await peer.subscribe('0', '/temp-queue/foo');
    const other = await rig.login();
    await other.subscribe('0', '/temp-queue/foo');
    other.send('SEND\ndestination:/temp-queue/foo\n\nx\0');
    await other.next();
    await peer.silence();
  });
});

describe('durable topic subscriptions', () => {
  for (const [broker, name] of [
    ['ActiveMQ Classic', 'activemq.subscriptionName'],
    ['ActiveMQ Classic, as it once spelled it', 'activemq.subcriptionName'],
    ['Artemis', 'durable-subscription-name'],
    ['Artemis', 'durable-subscriber-name'],
  ] as const) {
    test(`[${broker}] client-id and ${name}: kept while nobody listens, until it is unsubscribed by name`, async () => {
      const rig = new StompRig();
      const connect = 'accept-version:1.2\nclient-id:c';
      const first = await rig.login(connect);
      await first.subscribe('0', '/topic/t', `${name}:s\n`);
      await first.confirm('UNSUBSCRIBE\nid:0\n\n\0');
      await first.publish('/topic/t', 'missed');
      expect([...rig.core.vhost.queues.keys()]).toEqual(['c.s']);
      const second = await rig.login(connect);
      await second.subscribe('other', '/topic/t', `${name}:s\n`);
      expect(bodies(await second.frames())).toEqual(['missed']);
      await second.confirm('DISCONNECT\n\n\0');
      const third = await rig.login(connect);
      await third.confirm(`UNSUBSCRIBE\nid:0\n${name}:s\n\n\0`);
      expect(rig.core.vhost.queues.size).toBe(0);
    });
  }

  test('another topic under the same name takes the place of the first', async () => {
    const rig = new StompRig();
    const peer = await rig.login('accept-version:1.2\nclient-id:c');
    await peer.subscribe('0', '/topic/a', 'activemq.subscriptionName:s\n');
    await peer.confirm('UNSUBSCRIBE\nid:0\n\n\0');
    await peer.subscribe('0', '/topic/b', 'activemq.subscriptionName:s\n');
    await peer.publish('/topic/a', 'x');
    peer.send('SEND\ndestination:/topic/b\n\ny\0');
    expect(bodies(await peer.frames())).toEqual(['y']);
  });

  test('without a client-id: ERROR; one that is not there cannot be unsubscribed', async () => {
    const [, peer] = await rigged();
    peer.send('SUBSCRIBE\nid:0\ndestination:/topic/t\nactivemq.subscriptionName:s\n\n\0');
    expect((await peer.error()).headers['message']).toBe('Missing header');
    const [, other] = await rigged('accept-version:1.2\nclient-id:c');
    other.send('UNSUBSCRIBE\nid:0\nactivemq.subscriptionName:s\n\n\0');
    expect((await other.error()).headers['message']).toBe('not_found');
  });
});

describe('[ActiveMQ] wildcards, composite destinations and virtual topics', () => {
  test.each([
    ['/topic/P.>', ['P', 'P.a', 'P.b', 'P.a.b']],
    ['/topic/P.*', ['P.a', 'P.b']],
    ['/topic/P.*.b', ['P.a.b']],
    ['/topic/*.a', ['P.a']],
    ['/topic/>', ['P', 'P.a', 'P.b', 'P.a.b']],
  ])('%s gets %j', async (destination, wanted) => {
    const [, peer] = await rigged();
    await peer.subscribe('0', destination);
    for (const topic of ['P', 'P.a', 'P.b', 'P.a.b']) peer.send(`SEND\ndestination:/topic/${topic}\n\n${topic}\0`);
    expect(bodies(await peer.frames())).toEqual(wanted);
  });

  test.each([
    ['/queue/P.>', ['P', 'P.a', 'P.a.b', 'P.b']],
    ['/queue/P.*', ['P.a', 'P.b']],
    ['/queue/P.*.b', ['P.a.b']],
    ['/queue/*.a', ['P.a']],
    ['/queue/P.a,/queue/P.*.b', ['P.a', 'P.a.b']],
  ])(
    'SUBSCRIBE to %s takes from the queues %j, those that are there and those that come',
    async (destination, wanted) => {
      const rig = new StompRig();
      const peer = await rig.login();
      const publisher = await rig.login();
      for (const queue of ['P', 'P.a', 'Q.b']) await publisher.publish(`/queue/${queue}`, `old ${queue}`);
      await peer.subscribe('0', destination);
      for (const queue of ['P', 'P.a', 'P.b', 'P.a.b', 'Q']) await publisher.publish(`/queue/${queue}`, `new ${queue}`);
      const frames = await peer.frames();
      const from = new Set(frames.map(({ headers }) => headers['destination']));
      expect([...from].sort()).toEqual(wanted.map((name) => `/queue/${name}`));
      const old = wanted.filter((name) => ['P', 'P.a'].includes(name)).map((name) => `old ${name}`);
      expect(bodies(frames).sort()).toEqual([...wanted.map((name) => `new ${name}`), ...old].sort());
      expect(rig.core.vhost.queues.has(destination.slice('/queue/'.length))).toBe(false);
    },
  );

  test('wildcards of queues: prefetch and ACK hold over all of them; a deleted one is no loss, and comes back', async () => {
    const [rig, peer] = await rigged();
    for (const queue of ['a', 'b']) await peer.publish(`/queue/P.${queue}`, queue);
    await peer.subscribe('0', '/queue/P.>', 'ack:client\nactivemq.prefetchSize:1\n');
    const first = await peer.next();
    await peer.silence();
    peer.send(`ACK\nid:${first.headers['ack']}\n\n\0`);
    expect(bodies(await peer.frames())).toEqual(['b']);
    rig.core.vhost.removeQueue(rig.core.vhost.queues.get('P.b')!);
    await peer.silence();
    const other = await rig.login();
    await other.publish('/queue/P.c', 'c');
    await other.publish('/queue/P.b', 'again');
    expect(rig.core.vhost.queues.get('P.b')?.counts.consumers).toBe(1);
    peer.send('UNSUBSCRIBE\nid:0\n\n\0');
    await peer.settle();
    await other.publish('/queue/P.d', 'd');
    for (const name of ['P.a', 'P.b', 'P.c', 'P.d']) {
      expect([name, rig.core.vhost.queues.get(name)?.counts.consumers]).toEqual([name, 0]);
    }
  });

  test('wildcards of queues leave out those of others: exclusive ones, and what stands for subscriptions', async () => {
    const [rig, peer] = await rigged();
    const other = await rig.login();
    await other.subscribe('x', '/queue/P.mine', 'exclusive:true\n');
    await other.subscribe('t', '/topic/t');
    await peer.subscribe('0', '/queue/>');
    other.send('SEND\ndestination:/topic/t\n\ntopic\0SEND\ndestination:/queue/P.mine\n\nmine\0');
    expect(bodies(await other.frames())).toEqual(['topic', 'mine']);
    await peer.silence();
  });

  test('wildcards of queues: a selector leaves the rest in its queue', async () => {
    const [rig, peer] = await rigged();
    await peer.subscribe('0', '/queue/P.>', "selector:kind = 'a'\n");
    await peer.publish('/queue/P.q', 'b', 'kind:b\n');
    await peer.silence();
    expect(rig.core.vhost.queues.get('P.q')?.counts.ready).toBe(1);
  });

  test('a composite destination is sent to in all its parts, with one receipt, and subscribed to in all', async () => {
    const [, peer] = await rigged();
    await peer.subscribe('all', '/queue/a,/queue/b');
    await peer.subscribe('t', '/topic/t');
    peer.send('SEND\ndestination:/queue/a,b,/topic/t\nreceipt:r\n\nx\0');
    const frames = await peer.frames();
    expect(
      frames
        .map(({ headers }) => headers['receipt-id'] ?? `${headers['subscription']} ${headers['destination']}`)
        .sort(),
    ).toEqual(['all /queue/a', 'all /queue/b', 'r', 't /topic/t']);
  });

  test('/queue/Consumer.A.VirtualTopic.T: each group gets all, its members share', async () => {
    const [rig, publisher] = await rigged();
    const groups: RigPeer[] = [];
    for (const group of ['A', 'A', 'B']) {
      const member = await rig.login();
      await member.subscribe('0', `/queue/Consumer.${group}.VirtualTopic.Orders`, 'ack:client\n');
      groups.push(member);
    }
    for (const body of '12') await publisher.publish('/topic/VirtualTopic.Orders', body);
    const seen = await Promise.all(groups.map((member) => member.frames()));
    expect(seen.map((frames) => bodies(frames).join(''))).toEqual(['1', '2', '12']);
    for (const member of groups) member.stream.destroy();
    await publisher.settle();
    await publisher.publish('/topic/VirtualTopic.Orders', '3');
    const later = await rig.login();
    await later.subscribe('0', '/queue/Consumer.B.VirtualTopic.Orders');
    expect(bodies(await later.frames())).toEqual(['1', '2', '3']);
  });

  test('activemq.exclusive: one consumer at a time, another when it goes', async () => {
    const [rig, peer] = await rigged();
    const other = await rig.login();
    await peer.subscribe('0', '/queue/q', 'activemq.exclusive:true\n');
    await other.subscribe('0', '/queue/q');
    const publisher = await rig.login();
    for (const body of '12') await publisher.publish('/queue/q', body);
    expect(bodies(await peer.frames())).toEqual(['1', '2']);
    await peer.confirm('DISCONNECT\n\n\0');
    await publisher.publish('/queue/q', '3');
    expect(bodies(await other.frames())).toEqual(['3']);
  });

  test('activemq.priority: the higher consumer is served first', async () => {
    const [, peer] = await rigged();
    await peer.subscribe('low', '/queue/q');
    await peer.subscribe('high', '/queue/q', 'activemq.priority:10\n');
    for (const body of '12') peer.send(`SEND\ndestination:/queue/q\n\n${body}\0`);
    expect((await peer.frames()).map(({ headers }) => headers['subscription'])).toEqual(['high', 'high']);
  });
});
