import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Properties, Value } from '../../../src/core/properties.ts';
import { encodeProperties } from '../../../src/protocols/amqp091/properties.ts';
import { type Method, methods } from '../../../src/protocols/amqp091/spec.ts';
import { AmqpPeer, frame, headerFrame } from '../../support/amqp-peer.ts';
import { BrokerProcess } from '../../support/broker-process.ts';

/**
 * What a peer does wrong, and what it is told: code, text, class and method. The texts are those that RabbitMQ 3.10
 * answered with to the same octets.
 */
let broker: BrokerProcess;
let port: number;
beforeAll(async () => {
  broker = await BrokerProcess.start();
  port = broker.port('amqp');
});
afterAll(() => broker?.remove());

type Sends = (peer: AmqpPeer) => void | Promise<void>;
type Row = readonly [title: string, sends: Sends, code: number, text: string, cause: Method | null];

const int = (value: number): Value => ({ type: 'int', value });
const args = (entries: Record<string, Value>) => new Map(Object.entries(entries));
const properties = (own: Partial<Properties>) => encodeProperties({ headers: new Map(), ...own }, null as never);
const expiration = (text: string) => Buffer.from(`\x01\x00${String.fromCharCode(text.length)}${text}`, 'latin1');

function declares(queue: string, entries: Record<string, Value>): Sends {
  return (peer) => peer.send(1, methods.queueDeclare, { queue, exclusive: true, arguments: args(entries) });
}

function publishes(native: Buffer, values: Record<string, unknown> = {}): Sends {
  return (peer) => peer.publish(1, { exchange: '', routingKey: 'x', ...values }, 'b', native);
}

const own = (name: string, then: Sends): Sends => {
  return async (peer) => {
    await peer.declare(name, { exclusive: true });
    await then(peer);
  };
};

const locked = (queue: string): string =>
  `RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '${queue}' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.`;

const channelErrors: Row[] = [
  [
    '[0-9-1 queue.declare.passive.equivalent] declaring a queue again otherwise',
    own('r1', (peer) =>
      peer.send(1, methods.queueDeclare, { queue: 'r1', exclusive: true, arguments: args({ 'x-max-length': int(5) }) }),
    ),
    406,
    "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'r1' in vhost '/': received the value '5' of type 'signedint' but current is none",
    methods.queueDeclare,
  ],
  [
    '[0-9-1 queue.declare.passive.equivalent] declaring an exclusive queue again without saying so',
    own('r2', (peer) => peer.send(1, methods.queueDeclare, { queue: 'r2' })),
    405,
    locked('r2'),
    methods.queueDeclare,
  ],
  [
    '[0-9-1 queue.declare.passive.passive] asking for a queue that is not there',
    (peer) => peer.send(1, methods.queueDeclare, { queue: 'nope', passive: true }),
    404,
    "NOT_FOUND - no queue 'nope' in vhost '/'",
    methods.queueDeclare,
  ],
  [
    '[0-9-1 queue.declare.queue.reserved] a name of the broker’s',
    (peer) => peer.send(1, methods.queueDeclare, { queue: 'amq.mine' }),
    403,
    "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'",
    methods.queueDeclare,
  ],
  [
    'x-message-ttl below 0',
    declares('a', { 'x-message-ttl': int(-1) }),
    406,
    "PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue 'a' in vhost '/': {value_negative,-1}",
    methods.queueDeclare,
  ],
  [
    'x-expires of 0',
    declares('a', { 'x-expires': int(0) }),
    406,
    "PRECONDITION_FAILED - invalid arg 'x-expires' for queue 'a' in vhost '/': {value_zero,0}",
    methods.queueDeclare,
  ],
  [
    'x-max-length that is no number',
    declares('a', { 'x-max-length': 'many' }),
    406,
    "PRECONDITION_FAILED - invalid arg 'x-max-length' for queue 'a' in vhost '/': \"expected integer, got longstr\"",
    methods.queueDeclare,
  ],
  [
    'x-overflow of an unknown kind',
    declares('a', { 'x-overflow': 'x' }),
    406,
    "PRECONDITION_FAILED - invalid arg 'x-overflow' for queue 'a' in vhost '/': invalid_overflow",
    methods.queueDeclare,
  ],
  [
    'x-max-priority above 255',
    declares('a', { 'x-max-priority': int(256) }),
    406,
    "PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue 'a' in vhost '/': {max_value_exceeded,256}",
    methods.queueDeclare,
  ],
  [
    'x-dead-letter-exchange that is no name',
    declares('a', { 'x-dead-letter-exchange': int(1) }),
    406,
    "PRECONDITION_FAILED - invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'a' in vhost '/'",
    methods.queueDeclare,
  ],
  [
    'x-dead-letter-routing-key without an exchange',
    declares('a', { 'x-dead-letter-routing-key': 'k' }),
    406,
    "PRECONDITION_FAILED - invalid arg 'x-dead-letter-routing-key' for queue 'a' in vhost '/': routing_key_but_no_dlx_defined",
    methods.queueDeclare,
  ],
  [
    'x-queue-type that is none',
    declares('a', { 'x-queue-type': 'foo' }),
    406,
    "PRECONDITION_FAILED - invalid arg 'x-queue-type' for queue 'a' in vhost '/': \"unsupported queue type 'foo'\"",
    methods.queueDeclare,
  ],
  [
    '[0-9-1 queue.delete.if-unused.in-use] deleting a queue in use',
    own('r3', async (peer) => {
      await peer.call(1, methods.basicConsume, { queue: 'r3' }, methods.basicConsumeOk);
      peer.send(1, methods.queueDelete, { queue: 'r3', ifUnused: true });
    }),
    406,
    "PRECONDITION_FAILED - queue 'r3' in vhost '/' in use",
    methods.queueDelete,
  ],
  [
    '[0-9-1 queue.delete.if-empty.not-empty] deleting a queue with messages',
    own('r4', (peer) => {
      peer.publish(1, { routingKey: 'r4' }, 'm');
      peer.send(1, methods.queueDelete, { queue: 'r4', ifEmpty: true });
    }),
    406,
    "PRECONDITION_FAILED - queue 'r4' in vhost '/' not empty",
    methods.queueDelete,
  ],
  [
    '[0-9-1 queue.bind.queue.must-exist] binding a queue that is not there',
    (peer) => peer.send(1, methods.queueBind, { queue: 'nope', exchange: 'amq.direct' }),
    404,
    "NOT_FOUND - no queue 'nope' in vhost '/'",
    methods.queueBind,
  ],
  [
    '[0-9-1 queue.bind.exchange.exchange-existence] binding to an exchange that is not there',
    own('r5', (peer) => peer.send(1, methods.queueBind, { queue: 'r5', exchange: 'nope' })),
    404,
    "NOT_FOUND - no exchange 'nope' in vhost '/'",
    methods.queueBind,
  ],
  [
    '[0-9-1 queue.bind.exchange.default-exchange] binding to the default exchange',
    own('r6', (peer) => peer.send(1, methods.queueBind, { queue: 'r6', exchange: '' })),
    403,
    'ACCESS_REFUSED - operation not permitted on the default exchange',
    methods.queueBind,
  ],
  [
    '[0-9-1 queue.bind.queue.queue-known] the empty name before any queue was declared',
    (peer) => peer.send(1, methods.queueBind, { queue: '', exchange: 'amq.direct' }),
    404,
    'NOT_FOUND - no previously declared queue',
    methods.queueBind,
  ],
  [
    'declaring the default exchange',
    (peer) => peer.send(1, methods.exchangeDeclare, { exchange: '', type: 'direct' }),
    403,
    'ACCESS_REFUSED - operation not permitted on the default exchange',
    methods.exchangeDeclare,
  ],
  [
    '[0-9-1 exchange.declare.exchange.reserved] a name of the broker’s',
    (peer) => peer.send(1, methods.exchangeDeclare, { exchange: 'amq.mine', type: 'direct' }),
    403,
    "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'",
    methods.exchangeDeclare,
  ],
  [
    '[0-9-1 exchange.declare.type.typed] declaring an exchange again with another type',
    (peer) => peer.send(1, methods.exchangeDeclare, { exchange: 'amq.direct', type: 'fanout', durable: true }),
    406,
    "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'amq.direct' in vhost '/': received 'fanout' but current is 'direct'",
    methods.exchangeDeclare,
  ],
  [
    'deleting an exchange of the broker’s',
    (peer) => peer.send(1, methods.exchangeDelete, { exchange: 'amq.topic' }),
    403,
    "ACCESS_REFUSED - deletion of system exchange 'amq.topic' in vhost '/' not allowed",
    methods.exchangeDelete,
  ],
  [
    'alternate-exchange that is no name',
    (peer) =>
      peer.send(1, methods.exchangeDeclare, {
        exchange: 'u',
        type: 'direct',
        arguments: args({ 'alternate-exchange': int(1) }),
      }),
    406,
    "PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' in exchange 'u' in vhost '/'",
    methods.exchangeDeclare,
  ],
  [
    '[0-9-1 exchange.delete.if-unused.in-use] deleting an exchange in use',
    own('r7', async (peer) => {
      const exchange = { exchange: 'in-use', type: 'fanout', autoDelete: true };
      await peer.call(1, methods.exchangeDeclare, exchange, methods.exchangeDeclareOk);
      await peer.call(1, methods.queueBind, { queue: 'r7', exchange: 'in-use' }, methods.queueBindOk);
      peer.send(1, methods.exchangeDelete, { exchange: 'in-use', ifUnused: true });
    }),
    406,
    "PRECONDITION_FAILED - exchange 'in-use' in vhost '/' in use",
    methods.exchangeDelete,
  ],
  [
    '[0-9-1 basic.publish.exchange.must-exist] publishing to an exchange that is not there',
    publishes(properties({}), { exchange: 'nope' }),
    404,
    "NOT_FOUND - no exchange 'nope' in vhost '/'",
    methods.basicPublish,
  ],
  [
    'CC that is no array',
    publishes(properties({ headers: args({ CC: 'x' }) })),
    406,
    'PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,"CC",longstr}',
    methods.basicPublish,
  ],
  [
    'another user’s name',
    publishes(properties({ userId: 'bob' })),
    406,
    "PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'guest'",
    methods.basicPublish,
  ],
  [
    'an expiration that is no number',
    publishes(expiration('abc')),
    406,
    "PRECONDITION_FAILED - invalid expiration 'abc': no_integer",
    methods.basicPublish,
  ],
  [
    'an expiration below 0',
    publishes(expiration('-1')),
    406,
    "PRECONDITION_FAILED - invalid expiration '-1': {value_negative,-1}",
    methods.basicPublish,
  ],
  [
    'an expiration that begins as a number',
    publishes(expiration('1.5')),
    406,
    'PRECONDITION_FAILED - invalid expiration \'1.5\': {leftover_string,".5"}',
    methods.basicPublish,
  ],
  [
    'an expiration of more than ten years',
    publishes(expiration('99999999999999999999')),
    406,
    "PRECONDITION_FAILED - invalid expiration '99999999999999999999': {value_too_big,99999999999999999999}",
    methods.basicPublish,
  ],
  [
    'direct reply-to without a consumer',
    publishes(
      properties({ replyTo: { exchange: '', key: 'k', text: 'amq.rabbitmq.reply-to', protocol: 'amqp-0-9-1' } }),
    ),
    406,
    'PRECONDITION_FAILED - fast reply consumer does not exist',
    methods.basicPublish,
  ],
  [
    'direct reply-to with acks',
    (peer) => peer.send(1, methods.basicConsume, { queue: 'amq.rabbitmq.reply-to' }),
    406,
    'PRECONDITION_FAILED - reply consumer cannot acknowledge',
    methods.basicConsume,
  ],
  [
    'direct reply-to twice on a channel',
    async (peer) => {
      const values = { queue: 'amq.rabbitmq.reply-to', noAck: true };
      await peer.call(1, methods.basicConsume, values, methods.basicConsumeOk);
      peer.send(1, methods.basicConsume, values);
    },
    406,
    'PRECONDITION_FAILED - reply consumer already set',
    methods.basicConsume,
  ],
  [
    'a reply queue that is gone',
    (peer) => peer.send(1, methods.queueDeclare, { queue: 'amq.rabbitmq.reply-to.xyz', passive: true }),
    404,
    "NOT_FOUND - no queue 'amq.rabbitmq.reply-to.xyz' in vhost '/'",
    methods.queueDeclare,
  ],
  [
    'confirms on a transactional channel',
    async (peer) => {
      await peer.call(1, methods.txSelect, {}, methods.txSelectOk);
      peer.send(1, methods.confirmSelect);
    },
    406,
    'PRECONDITION_FAILED - cannot switch from tx to confirm mode',
    methods.confirmSelect,
  ],
  [
    'transactions on a confirming channel',
    async (peer) => {
      await peer.call(1, methods.confirmSelect, {}, methods.confirmSelectOk);
      peer.send(1, methods.txSelect);
    },
    406,
    'PRECONDITION_FAILED - cannot switch from confirm to tx mode',
    methods.txSelect,
  ],
  [
    '[0-9-1 tx.commit.transacted] committing without tx.select',
    (peer) => peer.send(1, methods.txCommit),
    406,
    'PRECONDITION_FAILED - channel is not transactional',
    methods.txCommit,
  ],
  [
    '[0-9-1 tx.rollback.transacted] rolling back without tx.select',
    (peer) => peer.send(1, methods.txRollback),
    406,
    'PRECONDITION_FAILED - channel is not transactional',
    methods.txRollback,
  ],
  [
    '[0-9-1 basic.ack.multiple.exists] a delivery tag that was never given',
    (peer) => peer.send(1, methods.basicAck, { deliveryTag: 5 }),
    406,
    'PRECONDITION_FAILED - unknown delivery tag 5',
    methods.basicAck,
  ],
  [
    'a delivery tag above 2^53 is told exactly',
    (peer) => peer.send(1, methods.basicAck, { deliveryTag: 2n ** 53n + 1n, multiple: true }),
    406,
    'PRECONDITION_FAILED - unknown delivery tag 9007199254740993',
    methods.basicAck,
  ],
  [
    'a consumer’s x-priority that is no number',
    own('r8', (peer) => peer.send(1, methods.basicConsume, { queue: 'r8', arguments: args({ 'x-priority': 'a' }) })),
    406,
    "PRECONDITION_FAILED - invalid arg 'x-priority' for queue 'r8' in vhost '/': \"expected integer, got longstr\"",
    methods.basicConsume,
  ],
  [
    '[0-9-1 basic.consume.exclusive.01] a second consumer beside an exclusive one',
    own('r9', async (peer) => {
      await peer.call(1, methods.basicConsume, { queue: 'r9', exclusive: true }, methods.basicConsumeOk);
      peer.send(1, methods.basicConsume, { queue: 'r9' });
    }),
    403,
    "ACCESS_REFUSED - queue 'r9' in vhost '/' in exclusive use",
    methods.basicConsume,
  ],
];

describe('[0-9-1 §4.3-1] errors that close the channel', () => {
  test.each(channelErrors)('%s', async (_title, sends, code, text, cause) => {
    const peer = await AmqpPeer.openChannel(port);
    await peer.call(2, methods.channelOpen, {}, methods.channelOpenOk);
    await sends(peer);
    expect(await peer.closed()).toEqual({ code, text, classId: cause?.classId ?? 0, methodId: cause?.methodId ?? 0 });
    // the other channel is undisturbed, and the number can be opened again
    await peer.call(2, methods.basicQos, { prefetchCount: 1 }, methods.basicQosOk);
    await peer.call(1, methods.channelOpen, {}, methods.channelOpenOk);
    peer.destroy();
  });
});

const connectionErrors: Row[] = [
  [
    '[0-9-1 exchange.declare.type.support] an unknown exchange type',
    (peer) => peer.send(1, methods.exchangeDeclare, { exchange: 'u', type: 'foo' }),
    503,
    "COMMAND_INVALID - unknown exchange type 'foo'",
    methods.exchangeDeclare,
  ],
  [
    '[0-9-1 basic.consume.consumer-tag.01] a tag that is in use',
    own('s1', async (peer) => {
      await peer.call(1, methods.basicConsume, { queue: 's1', consumerTag: 't' }, methods.basicConsumeOk);
      peer.send(1, methods.basicConsume, { queue: 's1', consumerTag: 't' });
    }),
    530,
    "NOT_ALLOWED - attempt to reuse consumer tag 't'",
    methods.basicConsume,
  ],
  [
    'a tag that is in use, for a queue that there is none of: the tag is looked at first',
    own('s2', async (peer) => {
      await peer.call(1, methods.basicConsume, { queue: 's2', consumerTag: 't' }, methods.basicConsumeOk);
      peer.send(1, methods.basicConsume, { queue: 'nowhere', consumerTag: 't' });
    }),
    530,
    "NOT_ALLOWED - attempt to reuse consumer tag 't'",
    methods.basicConsume,
  ],
  [
    'channel.flow that stops deliveries',
    (peer) => peer.send(1, methods.channelFlow, { active: false }),
    540,
    'NOT_IMPLEMENTED - active=false',
    methods.channelFlow,
  ],
  [
    'basic.qos by octets',
    (peer) => peer.send(1, methods.basicQos, { prefetchSize: 5 }),
    540,
    'NOT_IMPLEMENTED - prefetch_size!=0 (5)',
    methods.basicQos,
  ],
  [
    'basic.recover without requeue',
    (peer) => peer.send(1, methods.basicRecover, { requeue: false }),
    540,
    'NOT_IMPLEMENTED - requeue=false',
    methods.basicRecover,
  ],
  [
    'basic.publish with immediate',
    publishes(properties({}), { immediate: true }),
    540,
    'NOT_IMPLEMENTED - immediate=true',
    methods.basicPublish,
  ],
  [
    '[0-9-1 channel.open.state] opening a channel twice',
    (peer) => peer.send(1, methods.channelOpen),
    504,
    "CHANNEL_ERROR - second 'channel.open' seen",
    methods.channelOpen,
  ],
  [
    '[0-9-1 §4.2.3-4] a method on a channel that is not open',
    (peer) => peer.send(7, methods.basicQos),
    504,
    "CHANNEL_ERROR - expected 'channel.open'",
    methods.basicQos,
  ],
  [
    '[0-9-1 §4.2.6.1-2] a content header on channel 0',
    (peer) => peer.write(headerFrame(0, 3)),
    505,
    'UNEXPECTED_FRAME - frame of type 2 on channel 0',
    null,
  ],
  [
    'an empty exchange type',
    (peer) => peer.send(1, methods.exchangeDeclare, { exchange: 'u', type: '' }),
    503,
    "COMMAND_INVALID - invalid exchange type ''",
    methods.exchangeDeclare,
  ],
  [
    '[0-9-1 §4.2.6-1] a content header without a publish',
    (peer) => peer.write(headerFrame(1, 3)),
    505,
    'UNEXPECTED_FRAME - expected method frame, got non method frame instead',
    null,
  ],
  [
    '[0-9-1 §4.2.6-1] a body without a publish',
    (peer) => peer.write(frame(3, 1, Buffer.from('x'))),
    505,
    'UNEXPECTED_FRAME - expected method frame, got non method frame instead',
    null,
  ],
  [
    '[0-9-1 §4.2.6-1] a method where content is due',
    (peer) => {
      peer.send(1, methods.basicPublish, { routingKey: 'x' });
      peer.send(1, methods.basicQos);
    },
    505,
    'UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead',
    methods.basicPublish,
  ],
  [
    '[0-9-1 §4.2.6.1-1] a content header of another class',
    (peer) => {
      peer.send(1, methods.basicPublish, { routingKey: 'x' });
      peer.write(headerFrame(1, 1, undefined, 50));
    },
    505,
    'UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead',
    methods.basicPublish,
  ],
  [
    'more body than was announced',
    (peer) => {
      peer.send(1, methods.basicPublish, { routingKey: 'x' });
      peer.write(headerFrame(1, 1));
      peer.write(frame(3, 1, Buffer.from('xx')));
    },
    505,
    'UNEXPECTED_FRAME - body frames exceed the announced body size',
    methods.basicPublish,
  ],
  [
    'a property list that is cut',
    publishes(Buffer.from([0x80, 0, 9])),
    502,
    'SYNTAX_ERROR - property list is cut',
    methods.basicPublish,
  ],
  [
    '[0-9-1 §4.2.3-4] connection methods on a channel',
    (peer) => peer.send(1, methods.connectionClose, { replyCode: 200 }),
    503,
    'COMMAND_INVALID - unimplemented method',
    methods.connectionClose,
  ],
  [
    '[0-9-1 §4.2.3-4] channel methods on the connection',
    (peer) => peer.send(0, methods.channelOpen),
    504,
    'CHANNEL_ERROR - unexpected method in connection state running',
    methods.channelOpen,
  ],
  [
    'a method with content that only servers send: basic.return',
    (peer) => {
      peer.send(1, methods.basicReturn);
      peer.write(headerFrame(1, 0));
    },
    503,
    'COMMAND_INVALID - unimplemented method',
    methods.basicReturn,
  ],
  [
    'a method with content that only servers send: basic.deliver',
    (peer) => {
      peer.send(1, methods.basicDeliver);
      peer.write(headerFrame(1, 0));
    },
    503,
    'COMMAND_INVALID - unimplemented method',
    methods.basicDeliver,
  ],
  [
    'a method with content that only servers send: basic.get-ok',
    (peer) => {
      peer.send(1, methods.basicGetOk);
      peer.write(headerFrame(1, 0));
    },
    503,
    'COMMAND_INVALID - unimplemented method',
    methods.basicGetOk,
  ],
  [
    'a method that only servers send',
    (peer) => peer.send(1, methods.queueDeclareOk),
    503,
    'COMMAND_INVALID - unimplemented method',
    methods.queueDeclareOk,
  ],
];

describe('[0-9-1 §2.3.3-1] errors that close the connection', () => {
  test.each(connectionErrors)('%s', async (_title, sends, code, text, cause) => {
    const peer = await AmqpPeer.openChannel(port);
    await sends(peer);
    expect(await peer.connectionClosed()).toEqual({
      code,
      text,
      classId: cause?.classId ?? 0,
      methodId: cause?.methodId ?? 0,
    });
  });

  test.each<[string, Buffer, RegExp]>([
    ['[0-9-1 §4.2.3-1] a frame of an unknown type', frame(5, 1, Buffer.from([0, 60, 0, 10])), /unknown frame type 5/],
    ['[0-9-1 §4.2.3-3] a frame above frame_max', frame(3, 1, Buffer.alloc(140_000)), /exceeds frame_max 131072/],
    [
      '[0-9-1 §4.2.3-2] a frame without its end octet',
      Buffer.from([8, 0, 0, 0, 0, 0, 0, 0]),
      /frame end octet missing/,
    ],
  ])('%s: 501, and the connection is closed at once', async (_title, octets, text) => {
    const peer = await AmqpPeer.openChannel(port);
    peer.write(octets);
    const close = await peer.expect(0, methods.connectionClose);
    expect(close.number('replyCode')).toBe(501);
    expect(close.text('replyText')).toMatch(text);
    expect([close.number('classId'), close.number('methodId')]).toEqual([0, 0]);
    await peer.end();
  });
});

test('answers to what the broker sends are of no effect, due or not: basic.cancel-ok, channel.flow-ok', async () => {
  const peer = await AmqpPeer.openChannel(port);
  peer.send(1, methods.basicCancelOk, { consumerTag: 'none' });
  peer.send(1, methods.channelFlowOk, { active: true });
  await peer.call(1, methods.basicQos, { prefetchCount: 1 }, methods.basicQosOk);
  peer.destroy();
});

describe('pipelined behind methods whose replies wait for the disk', () => {
  const durable = (peer: AmqpPeer, queue: string) =>
    peer.send(1, methods.queueDeclare, { queue, durable: true, autoDelete: true });

  test('what closes the channel comes behind their replies, and nothing of that channel behind it', async () => {
    const peer = await AmqpPeer.openChannel(port);
    durable(peer, 'pipelined-1');
    durable(peer, 'pipelined-2');
    peer.send(1, methods.queueDeclare, { queue: 'nowhere', passive: true });
    await peer.expect(1, methods.queueDeclareOk);
    await peer.expect(1, methods.queueDeclareOk);
    expect((await peer.closed()).code).toBe(404);
    await peer.openChannel();
    await peer.call(1, methods.queueDelete, { queue: 'pipelined-1' }, methods.queueDeleteOk);
    await peer.call(1, methods.queueDelete, { queue: 'pipelined-2' }, methods.queueDeleteOk);
    peer.destroy();
  });

  test('what closes the connection comes behind their replies', async () => {
    const peer = await AmqpPeer.openChannel(port);
    durable(peer, 'pipelined-3');
    peer.send(1, methods.exchangeDeclare, { exchange: 'x', type: 'nonsense' });
    await peer.expect(1, methods.queueDeclareOk);
    expect((await peer.connectionClosed()).code).toBe(503);
  });
});
