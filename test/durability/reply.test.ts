import amqplib from 'amqplib';
import { expect, test } from 'vitest';
import { ApiClient } from '../support/api-client.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { MqttJsClient } from '../support/mqttjs-client.ts';

const requester = {
  clientId: 'requester',
  protocolVersion: 5,
  clean: false,
  properties: { sessionExpiryInterval: 600 },
};

test('a request that was seen before a kill is answered after it: the alias of a session that outlives it is kept', async () => {
  const broker = await BrokerProcess.start();
  try {
    const amqp = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${broker.port('amqp')}`);
    amqp.on('error', () => {}); // it is killed
    const channel = await amqp.createChannel();
    await channel.assertQueue('requests', { durable: true });
    await channel.bindQueue('requests', 'amq.topic', 'requests');
    const client = await new MqttJsClient(broker.port('mqtt'), { ...requester, protocolVersion: 5 }).open();
    await client.mqtt.subscribeAsync('replies/1', { qos: 1 });
    const correlationData = Buffer.from('ff00fe', 'hex');
    const properties = { responseTopic: 'replies/1', correlationData };
    await client.mqtt.publishAsync('requests', 'request', { qos: 1, properties });
    const request = await new Promise<amqplib.ConsumeMessage>((resolve) => {
      void channel.consume('requests', (message) => resolve(message as amqplib.ConsumeMessage), { noAck: false });
    });
    const { replyTo, correlationId } = request.properties as { replyTo: string; correlationId: string };
    await new ApiClient(broker.port('management')).put('queues/%2F/synced', { durable: true }); // behind the alias in the journal
    await broker.kill();
    client.mqtt.end(true);

    const again = await BrokerProcess.start({ dataDir: broker.dataDir });
    try {
      const back = new MqttJsClient(again.port('mqtt'), { ...requester, protocolVersion: 5 });
      await back.open();
      const responder = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${again.port('amqp')}`);
      const replies = await responder.createConfirmChannel();
      replies.sendToQueue(replyTo, Buffer.from('answer'), { correlationId, persistent: true });
      await replies.waitForConfirms();
      expect(await back.next()).toMatchObject({ topic: 'replies/1', properties: { correlationData } });
      await responder.close();
      back.mqtt.end(true);
    } finally {
      await again.stop();
    }
  } finally {
    await broker.remove();
  }
});

test('a requester that may not publish to an address cannot have others publish there for it', async () => {
  const broker = await BrokerProcess.start();
  try {
    const api = new ApiClient(broker.port('management'));
    await api.put('users/mallory', { password: 'm', tags: '' });
    await api.put('permissions/%2F/mallory', {
      configure: '^(mine|mqtt-)',
      write: '^(amq\\.topic$|mqtt-)',
      read: '.*',
    });
    const owner = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${broker.port('amqp')}`);
    const channel = await owner.createChannel();
    await channel.assertQueue('secret', { durable: true });
    // its accomplice, of another protocol, is shown an alias
    const accomplice = await new MqttJsClient(broker.port('mqtt'), {
      protocolVersion: 5,
      username: 'mallory',
      password: 'm',
    }).open();
    await accomplice.mqtt.subscribeAsync('requests');
    const mallory = await amqplib.connect(`amqp://mallory:m@127.0.0.1:${broker.port('amqp')}`);
    const requests = await mallory.createChannel();
    requests.publish('amq.topic', 'requests', Buffer.from('x'), { replyTo: 'secret' });
    const request = await accomplice.next();
    const topic = request.properties?.responseTopic as string;
    expect(topic).toMatch(/^\$reply\//);
    const refusal = await accomplice.mqtt.publishAsync(topic, 'forged', { qos: 1 }).catch((error: unknown) => error);
    expect(refusal).toMatchObject({ code: 0x87 }); // not authorized
    expect(await channel.checkQueue('secret')).toMatchObject({ messageCount: 0 });
    // a queue of its own it may be answered at, though it may not publish to the default exchange
    const { queue } = await requests.assertQueue('mine-1', { exclusive: true });
    requests.publish('amq.topic', 'requests', Buffer.from('y'), { replyTo: queue });
    const own = (await accomplice.next()).properties?.responseTopic as string;
    await accomplice.mqtt.publishAsync(own, 'answer', { qos: 1 });
    expect(await requests.get(queue)).toMatchObject({ content: Buffer.from('answer') });
    await mallory.close();
    await owner.close();
    accomplice.mqtt.end(true);
  } finally {
    await broker.remove();
  }
});
