import { describe, expect, test } from 'vitest';
import type { Authenticator } from '../../../src/core/auth.ts';
import { openDoor } from '../../support/core.ts';
import { StompRig } from '../../support/stomp-rig.ts';

/** The rows of RabbitMQ's STOMP guide, by its headings; what is asked for by name is answered in its words. */

const dialect = 'rabbitmq';

describe('[RabbitMQ §Connection and Virtual Hosts]', () => {
  test('without host the default virtual host is opened; a known one is opened by its name', async () => {
    const rig = new StompRig();
    rig.core.broker.addVhost('other');
    await (await rig.login('host:other')).publish('/topic/x', 'x');
    const peer = rig.open();
    peer.send('CONNECT\nlogin:guest\npasscode:guest\nhost:other\n\n\0');
    await peer.next();
    expect([...rig.door.connections].map(({ vhost }) => vhost.name)).toEqual(['/', 'other']);
  });

  test('strictHost: a host that is no virtual host is refused; without it, it is the default one', async () => {
    for (const strictHost of [true, false]) {
      const peer = new StompRig({ strictHost }).open();
      peer.send('CONNECT\naccept-version:1.2\nhost:stomp.example.com\nlogin:guest\npasscode:guest\n\n\0');
      if (!strictHost) expect((await peer.next()).command).toBe('CONNECTED');
      else {
        const error = await peer.error();
        expect(error.headers['message']).toBe('Bad CONNECT');
        expect(error.body.toString()).toBe("Virtual host 'stomp.example.com' access denied");
      }
    }
  });

  test('wrong credentials, and a CONNECT without login: Bad CONNECT, and the end', async () => {
    const authenticator: Authenticator = {
      ...openDoor,
      authenticate: async ({ user, password }) => (user === 'guest' && password === 'guest' ? user : null),
    };
    for (const [headers, user] of [
      ['login:guest\npasscode:gust\n', 'guest'],
      ['login:gust\npasscode:guest\n', 'gust'],
      ['login:guest\n', 'guest'],
      ['', ''],
    ]) {
      const peer = new StompRig({}, { authenticator }).open();
      peer.send(`CONNECT\naccept-version:1.2\n${headers}\n\0`);
      const error = await peer.error();
      expect(error.headers).toMatchObject({ message: 'Bad CONNECT', version: '1.0,1.1,1.2' });
      expect(error.body.toString()).toBe(`Access refused for user '${user}'\n`);
    }
  });

  test('a virtual host that the user may not open is told like one that is not there', async () => {
    const peer = new StompRig({}, { authenticator: { ...openDoor, findAccess: () => null } }).open();
    peer.send('CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\0');
    expect((await peer.error()).body.toString()).toBe("Virtual host '/' access denied");
  });

  test('anonymous: a CONNECT without login is let in, where that is allowed', async () => {
    const peer = new StompRig({ anonymous: true }).open();
    peer.send('CONNECT\naccept-version:1.2\nhost:/\n\n\0');
    expect((await peer.next()).command).toBe('CONNECTED');
  });
});

describe('[RabbitMQ §Queue Destinations, §Controlling Queue Parameters]', () => {
  for (const first of ['SEND', 'SUBSCRIBE']) {
    test(`the first ${first} declares /queue/n durable, shared, not auto-deleted; x-headers are its arguments`, async () => {
      const rig = new StompRig({ dialect });
      const peer = await rig.login();
      const args = [
        'x-message-ttl:60000\nx-expires:70000\nx-max-length:10\nx-max-length-bytes:20000\nx-max-priority:6',
        'x-dead-letter-exchange:dlx\nx-dead-letter-routing-key:k\nx-overflow:reject-publish',
        'x-queue-type:classic\nx-single-active-consumer:true\n',
      ].join('\n');
      await peer.confirm(`${first}\nid:0\ndestination:/queue/q\n${args}\n\0`);
      const { spec } = rig.core.vhost.queues.get('q')!;
      expect(spec).toMatchObject({ durable: true, autoDelete: false, exclusiveTo: null });
      expect(Object.fromEntries(spec.arguments)).toEqual({
        'x-message-ttl': { type: 'long', value: 60_000n },
        'x-expires': { type: 'long', value: 70_000n },
        'x-max-length': { type: 'long', value: 10n },
        'x-max-length-bytes': { type: 'long', value: 20_000n },
        'x-max-priority': { type: 'long', value: 6n },
        'x-dead-letter-exchange': 'dlx',
        'x-dead-letter-routing-key': 'k',
        'x-overflow': 'reject-publish',
        'x-queue-type': 'classic',
        'x-single-active-consumer': true,
      });
    });
  }

  test('durable, auto-delete and exclusive, also as Python writes truth', async () => {
    const rig = new StompRig({ dialect });
    const peer = await rig.login();
    await peer.subscribe('0', '/queue/a', 'durable:False\nauto-delete:True\n');
    expect(rig.core.vhost.queues.get('a')?.spec).toMatchObject({ durable: false, autoDelete: true });
    await peer.confirm('UNSUBSCRIBE\nid:0\n\n\0');
    expect(rig.core.vhost.queues.has('a')).toBe(false);
  });

  test('a queue that is there is used as it is, unless what is asked for differs', async () => {
    const rig = new StompRig({ dialect });
    rig.core.declare('q', { 'x-max-length': { type: 'int', value: 5 } }, true);
    const peer = await rig.login();
    await peer.subscribe('0', '/queue/q');
    peer.send('SUBSCRIBE\nid:1\ndestination:/queue/q\nx-max-length:6\n\n\0');
    const error = await peer.error();
    expect(error.headers['message']).toBe('precondition_failed');
    expect(error.body.toString()).toMatch(/^PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'q'/);
  });

  test('names are percent-encoded where they hold a slash', async () => {
    const rig = new StompRig({ dialect });
    const peer = await rig.login();
    await peer.subscribe('0', '/queue/a%2Fb');
    peer.send('SEND\ndestination:/queue/a%2Fb\n\nx\0');
    expect((await peer.next()).headers['destination']).toBe('/queue/a%2Fb');
    expect(rig.core.vhost.queues.has('a/b')).toBe(true);
  });
});

describe('[RabbitMQ §AMQ Queue Destinations, §Exchange Destinations, §Topic Destinations]', () => {
  test('/amq/queue/n: nothing is declared; a SEND to none is unroutable, and has its receipt', async () => {
    const rig = new StompRig({ dialect });
    const peer = await rig.login();
    await peer.publish('/amq/queue/none', 'x');
    expect(rig.core.vhost.queues.size).toBe(0);
    rig.core.declare('there');
    await peer.publish('/amq/queue/there', 'x');
    await peer.subscribe('0', '/amq/queue/there');
    expect((await peer.next()).headers['destination']).toBe('/queue/there');
  });

  test('subscriptions to exchanges are exclusive queues stomp-subscription-*, which go with them', async () => {
    const rig = new StompRig({ dialect });
    const peer = await rig.login();
    await peer.subscribe('0', '/exchange/amq.direct/k');
    await peer.subscribe('1', '/topic/a.*');
    for (const { name, spec } of rig.core.vhost.queues.values()) {
      expect(name).toMatch(/^stomp-subscription-/);
      expect(spec).toMatchObject({ durable: false, autoDelete: true });
      expect(spec.exclusiveTo).not.toBeNull();
    }
    await peer.confirm('UNSUBSCRIBE\nid:0\n\n\0');
    expect(rig.core.vhost.queues.size).toBe(1);
    peer.stream.destroy();
    await peer.settle();
    expect(rig.core.vhost.queues.size).toBe(0);
  });

  test('SEND to an exchange that is not there: not_found', async () => {
    const peer = await new StompRig({ dialect }).login();
    peer.send('SEND\ndestination:/exchange/none/k\nreceipt:r\n\nx\0');
    const error = await peer.error();
    expect(error.headers).toMatchObject({ message: 'not_found', 'receipt-id': 'r' });
    expect(error.body.toString()).toBe("NOT_FOUND - no exchange 'none' in vhost '/'");
  });

  test('x-queue-name names the queue of a subscription', async () => {
    const rig = new StompRig({ dialect });
    const peer = await rig.login();
    await peer.subscribe('0', '/topic/alarms', 'x-queue-name:my-alarms\n');
    rig.core.publish('', 'my-alarms', 'hello');
    expect((await peer.next()).body.toString()).toBe('hello');
  });
});

describe('[RabbitMQ §Durable Topic Subscriptions]', () => {
  const durable = 'durable:true\nauto-delete:False\n';

  test('a shared queue for each id and destination, which stays; UNSUBSCRIBE with durable deletes it', async () => {
    const rig = new StompRig({ dialect });
    const first = await rig.login();
    await first.subscribe('1234', '/topic/my.durable', durable);
    const [queue] = [...rig.core.vhost.queues.values()];
    expect(queue?.spec).toMatchObject({ durable: true, autoDelete: false, exclusiveTo: null });
    await first.confirm('UNSUBSCRIBE\nid:1234\n\n\0');
    await first.publish('/topic/my.durable', 'missed');
    const second = await rig.login();
    await second.subscribe('1234', '/topic/my.durable', durable);
    expect((await second.next()).body.toString()).toBe('missed');
    const third = await rig.login();
    await third.subscribe('1234', '/topic/my.durable', durable);
    await third.subscribe('1235', '/topic/my.durable', durable);
    expect(rig.core.vhost.queues.size).toBe(2);
    await third.confirm(`UNSUBSCRIBE\nid:1235\n${durable}\n\0`);
    expect(rig.core.vhost.queues.size).toBe(1);
  });

  test('persistent is an alias of durable; auto-delete is true unless it is said', async () => {
    const rig = new StompRig({ dialect });
    const peer = await rig.login();
    await peer.subscribe('0', '/topic/t', 'persistent:true\n');
    expect([...rig.core.vhost.queues.values()][0]?.spec).toMatchObject({ durable: true, autoDelete: true });
  });

  test('the id is required', async () => {
    const peer = await new StompRig({ dialect }).login('x:');
    peer.send('SUBSCRIBE\ndestination:/topic/t\ndurable:true\n\n\0');
    expect((await peer.error()).body.toString()).toBe("Header 'id' is required for durable subscriptions");
  });
});

describe('[RabbitMQ §Temp Queue Destinations]', () => {
  test('a reply-to of /temp-queue/: amq.gen-*, exclusive, subscribed to as /temp-queue/…; one for each name', async () => {
    const rig = new StompRig({ dialect });
    const [peer, responder] = [await rig.login(), await rig.login()];
    await responder.subscribe('0', '/queue/asks');
    for (const name of ['foo', 'foo', 'bar']) {
      await peer.publish('/queue/asks', 'ask', `reply-to:/temp-queue/${name}\n`);
    }
    const replyTo = (await responder.frames()).map(({ headers }) => headers['reply-to']!);
    expect(new Set(replyTo).size).toBe(2);
    for (const address of replyTo) {
      expect(address).toMatch(/^\/reply-queue\/amq\.gen-/);
      await responder.publish(address, 'answer');
    }
    const answers = await peer.frames();
    expect(answers.map(({ headers }) => headers['subscription'])).toEqual([
      '/temp-queue/foo',
      '/temp-queue/foo',
      '/temp-queue/bar',
    ]);
    expect(answers[0]?.headers['destination']).toBe(replyTo[0]?.replace('/reply-queue/', '/queue/'));
    peer.stream.destroy();
    await peer.settle();
    expect([...rig.core.vhost.queues.keys()]).toEqual(['asks']);
  });

  test('SEND to /temp-queue/ is an ERROR', async () => {
    const peer = await new StompRig({ dialect }).login();
    peer.send('SEND\ndestination:/temp-queue/foo\n\nx\0');
    expect((await peer.error()).body.toString()).toBe("'/temp-queue/foo' is not a valid destination for 'SEND'\n");
  });

  test('a reply-to that is none of ours is left as it is', async () => {
    const peer = await new StompRig({ dialect }).login();
    await peer.subscribe('0', '/queue/q');
    peer.send('SEND\ndestination:/queue/q\nreply-to:/queue/answers\n\nx\0');
    expect((await peer.next()).headers['reply-to']).toBe('/queue/answers');
  });
});

describe('[RabbitMQ §Message Persistence, §Queue Properties, §Header prohibited on SEND]', () => {
  test('the properties of a message come back, its own headers too, in their order', async () => {
    const peer = await new StompRig({ dialect }).login();
    await peer.subscribe('0', '/queue/q');
    const lines = [
      ...['content-type:text/plain', 'content-encoding:utf-8', 'persistent:true', 'priority:3', 'correlation-id:c'],
      ...['reply-to:/queue/answers', 'expiration:60000', 'amqp-message-id:m', 'timestamp:5', 'type:t', 'user-id:guest'],
      ...['app-id:a', 'x-custom-header-1:value1', 'custom-header-2:value2'],
    ];
    peer.send(`SEND\ndestination:/queue/q\n${lines.join('\n')}\n\nx\0`);
    const { lines: seen } = await peer.next();
    expect(seen.slice(4, -1)).toEqual(lines);
    expect(seen.at(-1)).toBe('content-length:1');
  });

  test("message-id on SEND is an ERROR, where clients are RabbitMQ's; a user-id is the own one", async () => {
    const peer = await new StompRig({ dialect }).login();
    peer.send('SEND\ndestination:a\nmessage-id:1\n\n\0');
    const error = await peer.error();
    expect([error.headers['message'], error.body.toString()]).toEqual([
      'Invalid header',
      "'message-id' is not allowed on 'SEND'.\n",
    ]);
    const other = await new StompRig({ dialect }).login();
    other.send('SEND\ndestination:a\nuser-id:bob\n\n\0');
    expect((await other.error()).body.toString()).toBe(
      "PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'guest'",
    );
  });
});

test.each([
  ['priority:abc', 'Invalid header'],
  ['expiration:abc', 'precondition_failed'],
  ['expiration:-1', 'precondition_failed'],
])('[RabbitMQ] SEND with %s is an ERROR: %s', async (header, message) => {
  const rig = new StompRig();
  const peer = await rig.login();
  peer.send(`SEND\ndestination:/queue/q\n${header}\nreceipt:r\n\nx\0`);
  expect((await peer.error()).headers).toMatchObject({ message, 'receipt-id': 'r' });
  expect(rig.core.vhost.queues.get('q')?.counts.ready).toBe(0);
});

test('priorities beyond 0 to 255 are the nearest one; ActiveMQ has no expiration', async () => {
  const rig = new StompRig({ dialect: 'activemq' });
  const peer = await rig.login();
  await peer.publish('/queue/q', 'x', 'priority:-5\nexpiration:soon\n');
  await peer.publish('/queue/q', 'y', 'priority:999\n');
  expect(rig.core.vhost.queues.get('q')?.counts.ready).toBe(2);
});

test('[STOMP 1.2 §SEND-4] [RabbitMQ] a message that a queue refuses is an ERROR, with a receipt and without [STOMP 1.2 §SEND]', async () => {
  for (const receipt of ['receipt:r\n', '']) {
    const rig = new StompRig({ dialect });
    const peer = await rig.login();
    await peer.publish('/queue/full', '1', 'x-max-length:1\nx-overflow:reject-publish\n');
    peer.send(`SEND\ndestination:/queue/full\n${receipt}\n2\0`);
    const error = await peer.error();
    expect(error.headers['message']).toBe('resource_error');
    expect(error.headers['receipt-id']).toBe(receipt === '' ? undefined : 'r');
    expect(rig.core.vhost.queues.get('full')?.counts.ready).toBe(1);
  }
});

describe('permissions', () => {
  const without = (operation: string, resource: string, name: string): StompRig => {
    const access = {
      allows: (asked: string, of: string, called: string) =>
        !(asked === operation && of === resource && called === name),
    };
    return new StompRig({ dialect }, { authenticator: { ...openDoor, findAccess: () => access } });
  };

  test.each([
    ['SEND\ndestination:/queue/new\n\nx\0', 'configure', 'queue', 'new'],
    ['SEND\ndestination:/queue/new\n\nx\0', 'write', 'exchange', ''],
    ['SEND\ndestination:/topic/a.b\n\nx\0', 'write', 'exchange', 'amq.topic'],
    ['SEND\ndestination:/topic/a.b\n\nx\0', 'write', 'topic', 'a.b'],
    ['SEND\ndestination:/exchange/amq.fanout\n\nx\0', 'write', 'exchange', 'amq.fanout'],
    ['SUBSCRIBE\nid:0\ndestination:/queue/new\n\n\0', 'configure', 'queue', 'new'],
    ['SUBSCRIBE\nid:0\ndestination:/queue/new\n\n\0', 'read', 'queue', 'new'],
    ['SUBSCRIBE\nid:0\ndestination:/topic/a.#\nx-queue-name:n\n\n\0', 'write', 'queue', 'n'],
    ['SUBSCRIBE\nid:0\ndestination:/topic/a.#\n\n\0', 'read', 'exchange', 'amq.topic'],
    ['SUBSCRIBE\nid:0\ndestination:/topic/a.#\n\n\0', 'read', 'topic', 'a.#'],
    ['SUBSCRIBE\nid:0\ndestination:/queue/new\nx-dead-letter-exchange:dlx\n\n\0', 'write', 'exchange', 'dlx'],
  ])('%j needs %s of the %s %j', async (frame, operation, resource, name) => {
    const peer = await without(operation, resource, name).login();
    peer.send(frame);
    const error = await peer.error();
    expect(error.headers['message']).toBe('access_refused');
    expect(error.body.toString()).toContain(
      `ACCESS_REFUSED - ${operation} access to ${resource} '${name || 'amq.default'}'`,
    );
  });
});

test('[RabbitMQ: quorum queues, poison message handling] a message that came back says how often', async () => {
  const rig = new StompRig();
  const publisher = await rig.login();
  const declared = 'x-queue-type:quorum\n';
  const peer = await rig.login('accept-version:1.2');
  await peer.subscribe('0', '/queue/qq', `ack:client-individual\n${declared}`);
  await publisher.publish('/queue/qq', 'm', declared);
  const counts: (string | undefined)[] = [];
  for (let i = 0; i < 3; i++) {
    const [message] = await peer.frames();
    counts.push(message?.headers['x-delivery-count']);
    peer.send(`NACK\nid:${message?.headers['ack']}\nrequeue:true\n\n\0`);
  }
  expect(counts).toEqual([undefined, '1', '2']);
});
