import rhea, { type Connection, type EventContext, type Receiver, type Sender } from 'rhea';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.ts';

/** rhea as the client: the habits of a library, through the whole broker. */
let broker: BrokerProcess;
const connections: Connection[] = [];
beforeAll(async () => {
  broker = await BrokerProcess.start({ args: ['--set', 'anonymous.enabled=true'] });
});
afterAll(async () => {
  for (const connection of connections) connection.close();
  await broker?.remove();
});

function event(emitter: { once(name: string, then: (context: EventContext) => void): unknown }, name: string) {
  return new Promise<EventContext>((resolve) => emitter.once(name, resolve));
}

async function open(options: object = {}): Promise<Connection> {
  const container = rhea.create_container();
  const connection = container.connect({
    host: '127.0.0.1',
    port: broker.port('amqp'),
    username: 'guest',
    password: 'guest',
    reconnect: false,
    ...options,
  });
  connections.push(connection);
  await event(connection, 'connection_open');
  return connection;
}

async function openSender(connection: Connection, options: Parameters<Connection['open_sender']>[0]): Promise<Sender> {
  const sender = connection.open_sender(options);
  await event(sender, 'sendable');
  return sender;
}

function messages(receiver: Receiver, count: number): Promise<EventContext[]> {
  const got: EventContext[] = [];
  return new Promise((resolve) =>
    receiver.on('message', (context: EventContext) => {
      got.push(context);
      if (got.length === count) resolve(got);
    }),
  );
}

test('a message comes back with everything that it said', async () => {
  const connection = await open();
  const receiver = connection.open_receiver('rhea-everything');
  const [got] = [messages(receiver, 1)];
  const sender = await openSender(connection, 'rhea-everything');
  const said = {
    durable: true,
    priority: 7,
    message_id: rhea.types.wrap_uuid(Buffer.from('00112233445566778899aabbccddeeff', 'hex')),
    correlation_id: 'c-1',
    to: '/queues/rhea-everything',
    subject: 'news',
    reply_to: '/queues/replies',
    content_type: 'text/plain',
    content_encoding: 'identity',
    creation_time: 1_700_000_000_123,
    group_id: 'g',
    group_sequence: 5,
    reply_to_group_id: 'r',
    application_properties: { text: 'é', n: 5, yes: true },
    message_annotations: { 'x-opt-mine': 'kept' },
    body: { nested: ['value', 1] },
  };
  const accepted = event(sender, 'accepted');
  sender.send(said as never);
  await accepted;
  const { message } = (await got)[0]!;
  expect(message).toMatchObject({
    durable: true,
    priority: 7,
    correlation_id: 'c-1',
    to: '/queues/rhea-everything',
    subject: 'news',
    reply_to: '/queues/replies',
    content_type: 'text/plain',
    content_encoding: 'identity',
    group_id: 'g',
    group_sequence: 5,
    reply_to_group_id: 'r',
    application_properties: { text: 'é', n: 5, yes: true },
    message_annotations: { 'x-opt-mine': 'kept', 'x-exchange': '', 'x-routing-key': 'rhea-everything' },
    body: { nested: ['value', 1] },
  });
  expect(Buffer.from(message?.message_id as never).toString('hex')).toBe('00112233445566778899aabbccddeeff');
  expect(Number(message?.creation_time)).toBe(1_700_000_000_123);
});

test('ten thousand messages through credit of a hundred, in order', async () => {
  const connection = await open();
  const count = 10_000;
  const receiver = connection.open_receiver({ source: 'rhea-many', credit_window: 100 });
  const got = messages(receiver, count);
  const sender = connection.open_sender('rhea-many');
  let sent = 0;
  sender.on('sendable', () => {
    while (sender.sendable() && sent < count) sender.send({ body: sent++ });
  });
  expect((await got).map(({ message }) => message?.body)).toEqual(Array.from({ length: count }, (_, i) => i));
});

test('a body of a megabyte, in frames of the size that rhea asks for', async () => {
  const connection = await open({ max_frame_size: 4096 });
  const receiver = connection.open_receiver('rhea-large');
  const got = messages(receiver, 1);
  const sender = await openSender(connection, 'rhea-large');
  const body = Buffer.alloc(1024 * 1024, 'rosetta');
  sender.send({ body: rhea.message.data_section(body) });
  const { message } = (await got)[0]!;
  expect(body.equals(message?.body.content)).toBe(true);
});

describe('outcomes', () => {
  test('what is released comes again, what is rejected does not', async () => {
    const connection = await open();
    const receiver = connection.open_receiver({ source: 'rhea-outcomes', autoaccept: false, credit_window: 1 });
    const first = messages(receiver, 1);
    const sender = await openSender(connection, 'rhea-outcomes');
    sender.send({ body: 'a' });
    const [context] = await first;
    const again = messages(receiver, 1);
    context!.delivery!.release({ delivery_failed: true });
    const [second] = await again;
    expect(second!.message?.delivery_count).toBe(1);
    const next = messages(receiver, 1);
    second!.delivery!.reject({ condition: 'rhea:no', description: 'thanks' });
    sender.send({ body: 'b' });
    expect((await next)[0]!.message?.body).toBe('b');
  });

  test('what no queue takes is released', async () => {
    const connection = await open();
    const sender = await openSender(connection, '/exchanges/amq.direct/nobody');
    const released = event(sender, 'released');
    sender.send({ body: 'x' });
    await released;
  });

  test('pre-settled both ways nobody says anything', async () => {
    const connection = await open();
    const receiver = connection.open_receiver({ source: 'rhea-settled', snd_settle_mode: 1 });
    const got = messages(receiver, 3);
    const sender = await openSender(connection, { target: 'rhea-settled', snd_settle_mode: 1 });
    for (let i = 0; i < 3; i++) sender.send({ body: i });
    expect((await got).map(({ delivery }) => delivery?.remote_settled)).toEqual([true, true, true]);
  });
});

test('a dynamic node is the requester’s address for replies', async () => {
  const connection = await open();
  const server = connection.open_receiver('rhea-rpc');
  server.on('message', ({ message }: EventContext) => {
    const answers = connection.open_sender({ target: {} });
    answers.once('sendable', () =>
      answers.send({
        to: message?.reply_to as string,
        correlation_id: message?.correlation_id as string,
        body: `${message?.body}!`,
      }),
    );
  });
  const replies = connection.open_receiver({ source: { dynamic: true } as never });
  await event(replies, 'receiver_open');
  const got = messages(replies, 1);
  const address = replies.source.address;
  expect(address).toMatch(/^\/queues\/amq\.dynamic-/);
  const requests = await openSender(connection, 'rhea-rpc');
  requests.send({ reply_to: address, correlation_id: 'c-1', body: 'hello' });
  expect((await got)[0]!.message).toMatchObject({ correlation_id: 'c-1', body: 'hello!' });
});

test('a receiver drains, and is told when there is no more', async () => {
  const connection = await open();
  const sender = await openSender(connection, 'rhea-drain');
  for (let i = 0; i < 2; i++) {
    const accepted = event(sender, 'accepted');
    sender.send({ body: i });
    await accepted;
  }
  const receiver = connection.open_receiver({ source: 'rhea-drain', credit_window: 0 });
  const got = messages(receiver, 2);
  const drained = event(receiver, 'receiver_drained');
  receiver.drain = true;
  receiver.add_credit(10);
  await drained;
  expect(await got).toHaveLength(2);
});

test('a selector lets through what it is true for', async () => {
  const connection = await open();
  const filter = rhea.filter.selector("colour = 'green' AND weight > 5");
  const receiver = connection.open_receiver({ source: { address: 'rhea-selector', filter } });
  const got = messages(receiver, 1);
  const sender = await openSender(connection, 'rhea-selector');
  sender.send({ body: 'no', application_properties: { colour: 'red', weight: 9 } });
  sender.send({ body: 'light', application_properties: { colour: 'green', weight: 1 } });
  sender.send({ body: 'yes', application_properties: { colour: 'green', weight: 9 } });
  expect((await got)[0]!.message?.body).toBe('yes');
});

test('a queue that is not there is an error of the link alone', async () => {
  const connection = await open();
  const receiver = connection.open_receiver('/queues/rhea-nothing');
  const { receiver: failed } = await event(receiver, 'receiver_error');
  expect(failed?.error).toMatchObject({ condition: 'amqp:not-found' });
  await openSender(connection, 'rhea-still-open');
});

test('without SASL, and ANONYMOUS, where the configuration lets anybody in', async () => {
  const anonymous = await open({ username: 'anonymous', password: undefined });
  await openSender(anonymous, 'rhea-anonymous');
  const without = await open({ username: undefined, password: undefined });
  await openSender(without, 'rhea-anonymous');
});
