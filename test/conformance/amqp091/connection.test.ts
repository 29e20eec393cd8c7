import { describe, expect, test } from 'vitest';
import type { Authenticator, Credentials } from '../../../src/core/auth.ts';
import type { Value } from '../../../src/core/properties.ts';
import { encodeMethod } from '../../../src/protocols/amqp091/methods.ts';
import { methods, protocolHeader } from '../../../src/protocols/amqp091/spec.ts';
import { encodeTable } from '../../../src/protocols/amqp091/table.ts';
import { AmqpCore, type AmqpCoreOptions } from '../../support/amqp-core.ts';
import { type AmqpPeer, contentFrames, frame } from '../../support/amqp-peer.ts';
import { openDoor } from '../../support/core.ts';

/** The class connection, on a clock that the test moves; what follows a rule of the specification bears its name. */

const heartbeat = frame(8, 0, Buffer.alloc(0));

async function started(core: AmqpCore): Promise<AmqpPeer> {
  const peer = core.connect();
  peer.write(protocolHeader);
  await peer.expect(0, methods.connectionStart);
  return peer;
}

function startOk(mechanism: string, response: string | Buffer, clientProperties?: Map<string, Value>): Buffer {
  return encodeMethod(0, methods.connectionStartOk, {
    mechanism,
    response,
    locale: 'en_US',
    ...(clientProperties === undefined ? {} : { clientProperties }),
  });
}

const plain = startOk('PLAIN', '\0guest\0guest');

async function tuned(core: AmqpCore): Promise<AmqpPeer> {
  const peer = await started(core);
  peer.write(plain);
  await peer.expect(0, methods.connectionTune);
  return peer;
}

function amqplain(entries: Record<string, Value>): Buffer {
  return encodeTable(new Map(Object.entries(entries))).subarray(4);
}

/** Lets in whom `admits` says, and remembers what was said. */
function asking(admits: (credentials: Credentials) => boolean): { authenticator: Authenticator; asked: Credentials[] } {
  const asked: Credentials[] = [];
  const authenticate = async (credentials: Credentials) => {
    asked.push(credentials);
    return admits(credentials) ? credentials.user || 'nobody' : null;
  };
  return { authenticator: { ...openDoor, authenticate }, asked };
}

describe('connection.start', () => {
  test('[0-9-1 connection.start.protocol-name] [0-9-1 connection.start.server-support] every other header is answered with ours, and the connection closed', async () => {
    const core = new AmqpCore();
    const headers = [
      'AMQP\0\0\x09\x02',
      'AMQP\x01\x01\0\x0a',
      'AMQP\0\0\x08\0',
      'AMQP\x02\x01\0\0',
      'HTTP/1.1',
      'amqp\0\0\x09\x01',
    ];
    for (const header of headers) {
      const peer = core.connect();
      peer.write(Buffer.from(header, 'latin1'));
      expect(await peer.end()).toEqual(protocolHeader);
    }
  });

  test('a header is taken octet by octet', async () => {
    const peer = new AmqpCore().connect();
    for (const octet of protocolHeader) peer.write(Buffer.from([octet]));
    const start = await peer.expect(0, methods.connectionStart);
    expect([start.number('versionMajor'), start.number('versionMinor')]).toEqual([0, 9]);
    peer.destroy();
  });

  test('[0-9-1 connection.start.server-properties.required-fields] [0-9-1 connection.start.locales.required-support] what the server says of itself, and its locales', async () => {
    const peer = new AmqpCore({ version: '1.2.3' }).connect();
    peer.write(protocolHeader);
    const start = await peer.expect(0, methods.connectionStart);
    const properties = start.table('serverProperties');
    expect(properties.get('product')).toBe('RosettaMQ');
    expect(properties.get('version')).toBe('1.2.3');
    for (const name of ['platform', 'copyright', 'information'])
      expect(properties.get(name)).toEqual(expect.any(String));
    expect(start.octets('locales').toString()).toBe('en_US');
    peer.destroy();
  });

  test('the capabilities', async () => {
    const peer = new AmqpCore().connect();
    peer.write(protocolHeader);
    const start = await peer.expect(0, methods.connectionStart);
    const capabilities = start.table('serverProperties').get('capabilities') as Map<string, Value>;
    expect(Object.fromEntries(capabilities)).toEqual({
      authentication_failure_close: true,
      'basic.nack': true,
      'connection.blocked': true,
      consumer_cancel_notify: true,
      consumer_priorities: true,
      direct_reply_to: true,
      exchange_exchange_bindings: true,
      per_consumer_qos: true,
      publisher_confirms: true,
    });
    peer.destroy();
  });

  test.each<[string, AmqpCoreOptions, string]>([
    ['as configured', {}, 'PLAIN AMQPLAIN'],
    ['with ANONYMOUS', { anonymous: true }, 'PLAIN AMQPLAIN ANONYMOUS'],
    ['with a certificate', { certificateName: 'sensor-7' }, 'PLAIN AMQPLAIN EXTERNAL'],
  ])('the mechanisms %s', async (_title, options, mechanisms) => {
    const peer = new AmqpCore(options).connect();
    peer.write(protocolHeader);
    const start = await peer.expect(0, methods.connectionStart);
    expect(start.octets('mechanisms').toString()).toBe(mechanisms);
    peer.destroy();
  });
});

describe('connection.start-ok', () => {
  test.each<[string, string | Buffer, AmqpCoreOptions, Credentials]>([
    ['PLAIN', '\0guest\0guest', {}, { mechanism: 'PLAIN', user: 'guest', password: 'guest' }],
    ['PLAIN', 'guest\0guest\0p', {}, { mechanism: 'PLAIN', user: 'guest', password: 'p' }],
    ['PLAIN', '\0zoë\0pä\0ss', {}, { mechanism: 'PLAIN', user: 'zoë', password: 'pä\0ss' }],
    ['AMQPLAIN', amqplain({ LOGIN: 'u', PASSWORD: 'p' }), {}, { mechanism: 'AMQPLAIN', user: 'u', password: 'p' }],
    ['ANONYMOUS', 'trace', { anonymous: true }, { mechanism: 'ANONYMOUS', user: '', password: '' }],
    ['EXTERNAL', '', { certificateName: 'sensor-7' }, { mechanism: 'EXTERNAL', user: 'sensor-7', password: '' }],
    ['EXTERNAL', 's', { certificateName: 's' }, { mechanism: 'EXTERNAL', user: 's', password: '' }],
  ])('%s %j', async (mechanism, response, options, credentials) => {
    const { authenticator, asked } = asking(() => true);
    const core = new AmqpCore({ ...options, broker: { authenticator } });
    const peer = await core.open({ mechanism, response });
    expect(asked).toEqual([credentials]);
    peer.destroy();
  });

  // [RFC 4616 §2] nobody acts in the name of another
  test.each<[string, string | Buffer]>([
    ['NONE', '\0guest\0guest'],
    ['ANONYMOUS', ''],
    ['EXTERNAL', ''],
    ['plain', '\0guest\0guest'],
    ['PLAIN', ''],
    ['PLAIN', 'guest'],
    ['PLAIN', '\0guest'],
    ['PLAIN', 'root\0guest\0guest'],
    ['AMQPLAIN', 'zzzz'],
    ['AMQPLAIN', amqplain({ LOGIN: 'guest' })],
    ['AMQPLAIN', amqplain({ LOGIN: 'guest', PASSWORD: true })],
  ])(
    '[0-9-1 connection.start-ok.mechanism.validity] after %s %j the connection is closed without another word',
    async (mechanism, response) => {
      const { authenticator, asked } = asking(() => true);
      const peer = await started(new AmqpCore({ broker: { authenticator } }));
      peer.write(
        startOk(mechanism, response, new Map([['capabilities', new Map([['authentication_failure_close', true]])]])),
      );
      expect((await peer.end()).length).toBe(0);
      expect(asked).toEqual([]);
    },
  );

  test('wrong credentials: a client that does not say it would understand just loses the connection', async () => {
    const peer = await started(new AmqpCore({ broker: asking(() => false) }));
    peer.write(plain);
    expect((await peer.end()).length).toBe(0);
  });

  test.each(['PLAIN', 'AMQPLAIN'])(
    'wrong credentials by %s: 403 to a client with authentication_failure_close',
    async (mechanism) => {
      const peer = await started(new AmqpCore({ broker: asking(() => false) }));
      const response = mechanism === 'PLAIN' ? '\0u\0p' : amqplain({ LOGIN: 'u', PASSWORD: 'p' });
      peer.write(
        startOk(mechanism, response, new Map([['capabilities', new Map([['authentication_failure_close', true]])]])),
      );
      const close = await peer.expect(0, methods.connectionClose);
      expect(close.number('replyCode')).toBe(403);
      expect(close.text('replyText')).toBe(
        `ACCESS_REFUSED - Login was refused using authentication mechanism ${mechanism}. For details see the broker logfile.`,
      );
      expect([close.number('classId'), close.number('methodId')]).toEqual([0, 0]);
      await peer.end();
    },
  );

  test('[0-9-1 connection.tune.frame-max.minimum] a frame of 4,096 octets is taken before anything is negotiated', async () => {
    const peer = await started(new AmqpCore({ frameMax: 4096 }));
    const rest = 4096 - startOk('PLAIN', '\0guest\0guest', new Map([['x', '']])).length;
    const octets = startOk('PLAIN', '\0guest\0guest', new Map([['x', 'y'.repeat(rest)]]));
    expect(octets.length).toBe(4096);
    peer.write(octets);
    await peer.expect(0, methods.connectionTune);
    peer.destroy();
  });

  test('who does not log in within the time loses the connection', async () => {
    const core = new AmqpCore();
    const silent = core.connect();
    const slow = await tuned(core);
    core.pass(9);
    expect(core.door.handshakes.size).toBe(2);
    core.pass(1);
    await silent.end();
    await slow.end();
  });

  test.each<[string, Buffer]>([
    ['a method that is not due', encodeMethod(0, methods.connectionTuneOk)],
    ['a method of a channel', encodeMethod(1, methods.channelOpen)],
    ['content', frame(2, 0, Buffer.alloc(14))],
    ['a frame of an unknown type', frame(9, 0, Buffer.alloc(4))],
    ['a frame without its end octet', Buffer.from([8, 0, 0, 0, 0, 0, 0, 0])],
    ['a frame that is too large', Buffer.from([1, 0, 0, 0x7f, 0xff, 0xff, 0xff])],
    ['an unknown method', frame(1, 0, Buffer.from([0, 99, 0, 1]))],
  ])('[0-9-1 §2.2.4-1] %s instead of it: the connection is closed without another word', async (_title, octets) => {
    const peer = await started(new AmqpCore());
    peer.write(octets);
    expect((await peer.end()).length).toBe(0);
  });
});

describe('connection.tune-ok', () => {
  test.each([
    [
      '[0-9-1 connection.tune-ok.frame-max.minimum] a frame-max below the least',
      { frameMax: 4095 },
      'negotiated frame_max = 4095 is lower than the minimum allowed value (4096)',
    ],
    [
      '[0-9-1 connection.tune-ok.frame-max.upper-limit] a frame-max above the server’s',
      { frameMax: 131_073 },
      'negotiated frame_max = 131073 is higher than the maximum allowed value (131072)',
    ],
    [
      '[0-9-1 connection.tune-ok.channel-max.upper-limit] [0-9-1 §2.3.3-2] a channel-max above the server’s',
      { channelMax: 2048 },
      'negotiated channel_max = 2048 is higher than the maximum allowed value (2047)',
    ],
  ])('%s: reported with 530, and closed without waiting for an answer', async (_rule, values, text) => {
    const peer = await tuned(new AmqpCore());
    peer.send(0, methods.connectionTuneOk, { channelMax: 10, frameMax: 8192, ...values });
    const close = await peer.expect(0, methods.connectionClose);
    expect(close.number('replyCode')).toBe(530);
    expect(close.text('replyText')).toBe(`NOT_ALLOWED - ${text}`);
    expect([close.number('classId'), close.number('methodId')]).toEqual([10, 31]);
    await peer.end();
  });

  test('0 leaves the choice to the server', async () => {
    const core = new AmqpCore({ channelMax: 3, frameMax: 5000 });
    const peer = await core.open({ channelMax: 0, frameMax: 0 });
    const [connection] = core.door.connections;
    expect(connection?.describe()).toMatchObject({ channelMax: 3, frameMax: 5000, heartbeatSeconds: 0 });
    peer.destroy();
  });

  test('[0-9-1 §4.2.3-3] [0-9-1 §2.3.3-1] the negotiated frame_max counts all octets of a frame', async () => {
    const core = new AmqpCore();
    for (const [bytes, isTaken] of [
      [4088, true],
      [4089, false],
    ] as const) {
      const peer = await core.openChannel({ frameMax: 4096 });
      peer.send(1, methods.basicPublish, { routingKey: 'nowhere' });
      peer.write(
        Buffer.concat([
          contentFrames(1, {}, Buffer.alloc(bytes)).subarray(encodeMethod(1, methods.basicPublish).length),
        ]),
      );
      if (isTaken) await peer.expectNothing();
      else {
        const close = await peer.expect(0, methods.connectionClose);
        expect(close.number('replyCode')).toBe(501);
        expect(close.text('replyText')).toBe('FRAME_ERROR - frame of 4097 octets exceeds frame_max 4096');
      }
      peer.destroy();
    }
  });

  test('channel-max counts the channels that are open at a time', async () => {
    const peer = await new AmqpCore().open({ channelMax: 2 });
    for (const channel of [7, 9]) await peer.openChannel(channel);
    await peer.call(7, methods.channelClose, { replyCode: 200 }, methods.channelCloseOk);
    await peer.openChannel(8);
    peer.send(1, methods.channelOpen);
    expect(await peer.connectionClosed()).toEqual({
      code: 530,
      text: 'NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)',
      classId: 0,
      methodId: 0,
    });
  });
});

describe('connection.open', () => {
  const access = { ...openDoor, findAccess: () => null };

  test.each<[string, AmqpCoreOptions, string, string]>([
    ['virtual-host: one that there is not', {}, 'nope', 'vhost nope not found'],
    [
      '[0-9-1 connection.open.virtual-host.security] one that the user may not open',
      { broker: { authenticator: access } },
      '/',
      "access to vhost '/' refused for user 'guest'",
    ],
    [
      'a limit of connections',
      { broker: { limits: { connections: 0, connectionsPerUser: 9, queuesPerVhost: 9 } } },
      '/',
      "access to vhost '/' refused for user 'guest': connection limit (0) is reached",
    ],
  ])('%s: 530', async (_title, options, virtualHost, text) => {
    const peer = await tuned(new AmqpCore(options));
    peer.send(0, methods.connectionTuneOk);
    peer.send(0, methods.connectionOpen, { virtualHost });
    expect(await peer.connectionClosed()).toEqual({
      code: 530,
      text: `NOT_ALLOWED - ${text}`,
      classId: 10,
      methodId: 40,
    });
  });

  test('another method than open: 504', async () => {
    const peer = await tuned(new AmqpCore());
    for (let i = 0; i < 2; i++) peer.send(0, methods.connectionTuneOk);
    expect(await peer.connectionClosed()).toEqual({
      code: 504,
      text: 'CHANNEL_ERROR - unexpected method in connection state opening',
      classId: 10,
      methodId: 31,
    });
  });

  test('[0-9-1 connection.open.virtual-host.separation] the same names are other things in another virtual host', async () => {
    const core = new AmqpCore();
    core.core.broker.addVhost('other');
    const here = await core.openChannel();
    const there = await core.openChannel({ vhost: 'other' });
    await here.declare('q');
    await there.declare('q', { autoDelete: true });
    here.publish(1, { routingKey: 'q' }, 'here');
    expect(await there.get('q')).toBeNull();
    expect((await here.get('q'))?.body.toString()).toBe('here');
    await there.call(1, methods.queueDelete, { queue: 'q' }, methods.queueDeleteOk);
    await here.declare('q', { passive: true });
    here.destroy();
    there.destroy();
  });

  test.each([
    methods.connectionStartOk,
    methods.connectionSecureOk,
    methods.connectionTuneOk,
    methods.connectionOpen,
    methods.connectionCloseOk,
    methods.connectionBlocked,
  ])('afterwards $name is not due any longer: 504', async (method) => {
    const peer = await new AmqpCore().open();
    peer.send(0, method);
    expect(await peer.connectionClosed()).toEqual({
      code: 504,
      text: 'CHANNEL_ERROR - unexpected method in connection state running',
      classId: method.classId,
      methodId: method.methodId,
    });
  });
});

describe('connection.close', () => {
  test('[0-9-1 connection.close.stability] [0-9-1 §2.3.7-1] what comes behind our close is discarded, and their close is answered', async () => {
    const core = new AmqpCore();
    const peer = await core.openChannel();
    peer.send(1, methods.queueDeclareOk);
    await peer.expect(0, methods.connectionClose);
    peer.send(1, methods.queueDeclare, { queue: 'late' });
    peer.publish(1, { exchange: 'nope' }, 'x');
    peer.send(0, methods.connectionClose, { replyCode: 200 });
    await peer.expect(0, methods.connectionCloseOk);
    peer.send(0, methods.connectionCloseOk);
    expect((await peer.end()).length).toBe(0);
    expect(core.core.vhost.queues.has('late')).toBe(false);
  });

  test('a peer that does not answer close is not waited for', async () => {
    const core = new AmqpCore();
    const peer = await core.open();
    peer.send(0, methods.connectionTuneOk);
    await peer.expect(0, methods.connectionClose);
    core.pass(5);
    expect(core.door.connections.size).toBe(1);
    core.pass(1);
    await peer.end();
  });

  test('an operator’s word: 320', async () => {
    const core = new AmqpCore();
    const peer = await core.open();
    for (const client of core.core.broker.clients) client.close('connection-forced', 'maintenance');
    expect(await peer.connectionClosed()).toEqual({
      code: 320,
      text: 'CONNECTION_FORCED - maintenance',
      classId: 0,
      methodId: 0,
    });
  });

  test('the end of the server: 320', async () => {
    const core = new AmqpCore();
    const peer = await core.open();
    core.door.stop();
    expect(await peer.connectionClosed()).toMatchObject({
      code: 320,
      text: "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'",
    });
  });

  test('with it go the channels: what was unacked is ready again', async () => {
    const core = new AmqpCore();
    const peer = await core.openChannel();
    await peer.declare('q');
    peer.publish(1, { routingKey: 'q' }, 'm');
    await peer.get('q', false);
    peer.send(0, methods.connectionClose, { replyCode: 200 });
    await peer.expect(0, methods.connectionCloseOk);
    expect(core.core.vhost.queues.get('q')?.counts).toMatchObject({ ready: 1, unacked: 0 });
  });
});

describe('heartbeats [§4.2.7]', () => {
  test('[0-9-1 §4.2.7-1] one is sent when nothing was for half the interval, and none when something was', async () => {
    const core = new AmqpCore();
    const peer = await core.openChannel({ heartbeat: 10 });
    for (let i = 0; i < 8; i++) {
      core.pass(2);
      await peer.expectNothing();
    }
    expect(peer.heartbeats).toBe(0);
    core.pass(4);
    peer.write(heartbeat);
    core.pass(1);
    await peer.expectNothing();
    expect(peer.heartbeats).toBe(1);
    peer.destroy();
  });

  test('[0-9-1 §4.2.7-2] a peer that is silent for two intervals is given up without a word', async () => {
    const core = new AmqpCore();
    const peer = await core.openChannel({ heartbeat: 2 });
    await peer.declare('q', { exclusive: true });
    core.pass(4);
    expect(core.door.connections.size).toBe(1);
    core.pass(1);
    expect(core.door.connections.size).toBe(0);
    expect(core.core.vhost.queues.size).toBe(0);
    const last = await peer.end();
    expect(last.length % heartbeat.length).toBe(0);
    for (let at = 0; at < last.length; at += heartbeat.length) expect(last.subarray(at, at + 8)).toEqual(heartbeat);
  });

  test('any octet is as good as a heartbeat', async () => {
    const core = new AmqpCore();
    const peer = await core.openChannel({ heartbeat: 2 });
    const octets = contentFrames(1, { routingKey: 'nowhere' }, Buffer.from('x'));
    for (const octet of octets) {
      core.pass(3);
      peer.write(Buffer.from([octet]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await peer.expectNothing();
    peer.destroy();
  });

  test('0 turns them off', async () => {
    const core = new AmqpCore();
    const peer = await core.openChannel({ heartbeat: 0 });
    core.pass(500);
    await peer.expectNothing();
    expect(peer.heartbeats).toBe(0);
    peer.destroy();
  });

  test('between the frames of a content they are taken', async () => {
    const peer = await new AmqpCore().openChannel();
    const queue = await peer.declare('');
    const content = contentFrames(1, { routingKey: queue }, Buffer.from('body'));
    const head = encodeMethod(1, methods.basicPublish, { routingKey: queue }).length;
    const cuts = [0, head, head + 7 + 14 + 1, content.length];
    const parts = cuts.slice(1).flatMap((end, i) => [content.subarray(cuts[i], end), heartbeat]);
    peer.write(Buffer.concat(parts));
    expect((await peer.get(queue))?.body.toString()).toBe('body');
    peer.destroy();
  });

  test('[0-9-1 §4.2.7-3] one that is not on channel 0, or has a payload: 501', async () => {
    const peer = await new AmqpCore().openChannel();
    peer.write(frame(8, 1, Buffer.alloc(0)));
    expect(await peer.connectionClosed()).toEqual({
      code: 501,
      text: 'FRAME_ERROR - heartbeat on channel 1',
      classId: 0,
      methodId: 0,
    });
    const other = await new AmqpCore().openChannel();
    other.write(frame(8, 0, Buffer.from('x')));
    expect(await other.connectionClosed()).toEqual({
      code: 501,
      text: 'FRAME_ERROR - heartbeat with a payload',
      classId: 0,
      methodId: 0,
    });
  });
});

describe('connection.blocked [RabbitMQ: blocked connection notifications]', () => {
  const capabilities = ['connection.blocked'];

  test('who publishes is told and held; afterwards all that was sent is there', async () => {
    const core = new AmqpCore();
    const peer = await core.openChannel({ capabilities });
    const queue = await peer.declare('');
    core.core.broker.setAlarm('memory');
    await peer.expectNothing(); // who does not publish is not held
    for (const body of ['1', '2']) peer.publish(1, { routingKey: queue }, body);
    expect((await peer.expect(0, methods.connectionBlocked)).text('reason')).toBe('memory');
    // the one that showed it to be a publisher is taken
    expect(core.core.vhost.queues.get(queue)?.counts.ready).toBe(1);
    core.core.broker.setAlarm(null);
    await peer.expect(0, methods.connectionUnblocked);
    expect((await peer.get(queue))?.args.number('messageCount')).toBe(1);
    peer.destroy();
  });

  test('an alarm that was there before the connection counts too', async () => {
    const core = new AmqpCore();
    core.core.broker.setAlarm('disk');
    const peer = await core.openChannel({ capabilities });
    peer.publish(1, { routingKey: 'nowhere' }, 'x');
    expect((await peer.expect(0, methods.connectionBlocked)).text('reason')).toBe('disk');
    peer.destroy();
  });

  test('a client without the capability is held, and told nothing', async () => {
    const core = new AmqpCore();
    const peer = await core.openChannel();
    const queue = await peer.declare('');
    core.core.broker.setAlarm('memory');
    peer.publish(1, { routingKey: queue }, 'm');
    peer.send(1, methods.basicGet, { queue, noAck: true });
    await new Promise((resolve) => setImmediate(resolve));
    core.core.broker.setAlarm(null);
    expect((await peer.content(methods.basicGetOk)).body.toString()).toBe('m');
    peer.destroy();
  });

  test('a connection that only consumes gets deliveries while others are held', async () => {
    const core = new AmqpCore();
    const consumer = await core.openChannel({ capabilities });
    const queue = await consumer.declare('');
    await consumer.call(1, methods.basicQos, { prefetchCount: 1 }, methods.basicQosOk);
    await consumer.call(1, methods.basicConsume, { queue }, methods.basicConsumeOk);
    for (const body of ['1', '2']) core.core.publish('', queue, body);
    core.core.broker.setAlarm('memory');
    expect((await consumer.content()).body.toString()).toBe('1');
    consumer.send(1, methods.basicAck, { deliveryTag: 1 });
    expect((await consumer.content()).body.toString()).toBe('2');
    consumer.destroy();
  });

  test('of a publisher that consumes too a little is read each second, so that its acks arrive', async () => {
    const core = new AmqpCore();
    const peer = await core.openChannel({ capabilities });
    const queue = await peer.declare('');
    await peer.call(1, methods.basicQos, { prefetchCount: 1 }, methods.basicQosOk);
    await peer.call(1, methods.basicConsume, { queue }, methods.basicConsumeOk);
    for (const body of ['1', '2']) core.core.publish('', queue, body);
    expect((await peer.content()).body.toString()).toBe('1');
    core.core.broker.setAlarm('memory');
    peer.publish(1, { routingKey: 'nowhere' }, 'x');
    await peer.expect(0, methods.connectionBlocked);
    peer.send(1, methods.basicAck, { deliveryTag: 1 });
    core.pass(1);
    expect((await peer.content()).body.toString()).toBe('2');
    core.core.broker.setAlarm(null);
    await peer.expect(0, methods.connectionUnblocked);
    peer.destroy();
  });

  test('the silence of a held publisher is not held against it, and it gets heartbeats', async () => {
    const core = new AmqpCore();
    const peer = await core.openChannel({ capabilities, heartbeat: 2 });
    core.core.broker.setAlarm('memory');
    peer.publish(1, { routingKey: 'nowhere' }, 'x');
    await peer.expect(0, methods.connectionBlocked);
    core.pass(60);
    expect(core.door.connections.size).toBe(1);
    core.core.broker.setAlarm(null);
    await peer.expect(0, methods.connectionUnblocked);
    expect(peer.heartbeats).toBeGreaterThan(10);
    peer.destroy();
  });
});

describe('connection.update-secret', () => {
  test('is answered; users kept here have no secret that expires, so that any is taken', async () => {
    const peer = await new AmqpCore().openChannel();
    for (const newSecret of ['guest', 'another', '']) {
      await peer.call(
        0,
        methods.connectionUpdateSecret,
        { newSecret, reason: 'renewed' },
        methods.connectionUpdateSecretOk,
      );
    }
    await peer.expectNothing();
    peer.destroy();
  });
});
