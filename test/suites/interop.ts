import amqplib, { type ConsumeMessage } from 'amqplib';
import mqtt from 'mqtt';
import stompit from 'stompit';
import { expect, test } from 'vitest';

/**
 * What any broker of a protocol does for a real client of it: bodies that run against this broker as a process and as
 * an image, and against others, so that an expectation of ours that nobody else meets is noticed.
 */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
}

const everyByte = Buffer.from(Array.from({ length: 256 }, (_, i) => i));

export function amqpSuite(endpoint: () => Endpoint): void {
  const connect = () => {
    const { host, port, user, password } = endpoint();
    return amqplib.connect({ hostname: host, port, username: user, password });
  };

  test('AMQP: a confirmed message comes back with its properties and body', async () => {
    const connection = await connect();
    const channel = await connection.createConfirmChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    const properties = {
      contentType: 'a/b',
      correlationId: 'c',
      messageId: 'm',
      headers: { n: 5, text: 'é', ok: true },
    };
    channel.sendToQueue(queue, everyByte, properties);
    await channel.waitForConfirms();
    const message = await channel.get(queue);
    expect(message === false ? null : message.content).toEqual(everyByte);
    expect(message === false ? null : message.properties).toMatchObject(properties);
    await connection.close();
  });

  test('AMQP: what is rejected with requeue comes again, redelivered', async () => {
    const connection = await connect();
    const channel = await connection.createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    channel.sendToQueue(queue, Buffer.from('x'));
    const seen: boolean[] = [];
    await new Promise<void>((resolve) => {
      channel.consume(queue, (message) => {
        const delivery = message as ConsumeMessage;
        seen.push(delivery.fields.redelivered);
        if (seen.length === 1) return channel.nack(delivery, false, true);
        channel.ack(delivery);
        resolve();
      });
    });
    expect(seen).toEqual([false, true]);
    await connection.close();
  });

  test('AMQP: declaring otherwise what is there is 406 and closes the channel alone', async () => {
    const connection = await connect();
    const [channel, other] = [await connection.createChannel(), await connection.createChannel()];
    const queue = 'interop-equivalence';
    await channel.assertQueue(queue, { autoDelete: true, durable: false });
    channel.on('error', () => {});
    await expect(channel.assertQueue(queue, { autoDelete: true, durable: true })).rejects.toThrow(
      /406.*PRECONDITION_FAILED - inequivalent arg 'durable'/s,
    );
    expect(await other.deleteQueue(queue)).toMatchObject({ messageCount: 0 });
    await connection.close();
  });

  test('AMQP: an exclusive queue is never durable, whatever its declaration says', async () => {
    const connection = await connect();
    const channel = await connection.createChannel();
    await channel.assertQueue('interop-exclusive', { exclusive: true, durable: false });
    await channel.assertQueue('interop-exclusive', { exclusive: true, durable: true });
    await connection.close();
  });

  test('AMQP: a name that the broker generated is not declared again by a client', async () => {
    const connection = await connect();
    const channel = await connection.createChannel();
    channel.on('error', () => {});
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.checkQueue(queue);
    await expect(channel.assertQueue(queue, { exclusive: true })).rejects.toThrow(/403.*reserved prefix 'amq\.\*'/s);
    await connection.close();
  });
}

export function mqttSuite(endpoint: () => Endpoint): void {
  const connect = (options: mqtt.IClientOptions) => {
    const { host, port, user, password } = endpoint();
    return mqtt.connectAsync(`mqtt://${host}:${port}`, { username: user, password, ...options });
  };

  test.each([4, 5] as const)('MQTT level %i: a message of QoS 1 comes back by a wildcard', async (protocolVersion) => {
    const client = await connect({ protocolVersion });
    const root = `interop/${protocolVersion}`;
    await client.subscribeAsync(`${root}/+/#`, { qos: 1 });
    const next = new Promise<[string, Buffer, number]>((resolve) =>
      client.once('message', (topic, body, packet) => resolve([topic, body, packet.qos])),
    );
    await client.publishAsync(`${root}/a/b`, everyByte, { qos: 1 });
    expect(await next).toEqual([`${root}/a/b`, everyByte, 1]);
    await client.endAsync();
  });

  test('MQTT 5.0: properties come back as they were', async () => {
    const client = await connect({ protocolVersion: 5 });
    const properties = {
      contentType: 'a/b',
      correlationData: Buffer.from([0, 255]),
      responseTopic: 'answers/1',
      userProperties: { a: ['1', '2'], b: '3' },
    };
    await client.subscribeAsync('interop/properties');
    const next = new Promise<unknown>((resolve) =>
      client.once('message', (_topic, _body, packet) => resolve(packet.properties)),
    );
    await client.publishAsync('interop/properties', 'x', { properties });
    expect(await next).toMatchObject(properties);
    await client.endAsync();
  });

  test('MQTT: a session that outlives its connection keeps what was published meanwhile', async () => {
    const options = { clientId: 'interop-session', clean: false, protocolVersion: 4 } as const;
    const first = await connect(options);
    await first.subscribeAsync('interop/session', { qos: 1 });
    await first.endAsync();
    const publisher = await connect({});
    for (const body of ['1', '2', '3']) await publisher.publishAsync('interop/session', body, { qos: 1 });
    const bodies: string[] = [];
    const { host, port, user, password } = endpoint();
    const second = mqtt.connect(`mqtt://${host}:${port}`, { username: user, password, ...options });
    await new Promise<void>((resolve) => {
      second.on('message', (_topic, body) => {
        bodies.push(body.toString());
        if (bodies.length === 3) resolve();
      });
    });
    expect(bodies).toEqual(['1', '2', '3']);
    await second.unsubscribeAsync('interop/session');
    await second.endAsync();
    await publisher.endAsync();
  });
}

export function connectStomp(
  { host, port, user, password }: Endpoint,
  headers: Readonly<Record<string, string>> = {},
): Promise<stompit.Client> {
  const options = {
    host,
    port,
    connectHeaders: { host: '/', login: user, passcode: password, 'accept-version': '1.2', ...headers },
  };
  return new Promise((resolve, reject) =>
    stompit.connect(options, (error, client) => (error ? reject(error) : resolve(client))),
  );
}

export function stompSuite(endpoint: () => Endpoint): void {
  test('STOMP: a message with a receipt comes back with its headers and body', async () => {
    const client = await connectStomp(endpoint());
    client.on('error', () => {});
    const queue = `/queue/interop-${Date.now()}`;
    await new Promise<void>((resolve, reject) => {
      const headers = { destination: queue, 'content-length': '256', note: 'a:b\nc\\d' };
      client.send(headers, { onReceipt: resolve, onError: reject }).end(everyByte);
    });
    const received = await new Promise<[string | undefined, Buffer]>((resolve, reject) => {
      client.subscribe({ destination: queue, ack: 'client-individual' }, (error, message) => {
        if (error) return reject(error);
        const chunks: Buffer[] = [];
        message.on('data', (chunk: Buffer) => chunks.push(chunk));
        message.on('end', () => {
          client.ack(message);
          resolve([message.headers['note'], Buffer.concat(chunks)]);
        });
      });
    });
    expect(received).toEqual(['a:b\nc\\d', everyByte]);
    await new Promise<void>((resolve) => client.disconnect(() => resolve()));
  });
}
