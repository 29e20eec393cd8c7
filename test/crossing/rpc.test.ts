import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client as Stompjs } from '@stomp/stompjs';
import amqplib, { type Channel, type ChannelModel, type ConsumeMessage } from 'amqplib';
import mqtt, { type MqttClient } from 'mqtt';
import rhea, { type Connection, type EventContext } from 'rhea';
import type stompit from 'stompit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectStomp } from '../suites/interop.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { TcpWebSocket } from '../support/tcp-web-socket.ts';

/** Requests and replies across protocols; the responders know nothing of the requester and copy what their habits copy. */
interface Peer {
  /** Answers what comes to the topic with the body in upper case. */
  respond(topic: string): Promise<void>;
  /** Resolves with the body of the reply whose correlation is the request's. */
  request(topic: string, body: string): Promise<string>;
}

let broker: BrokerProcess;
let amqp: ChannelModel;
let channel: Channel;
let client: MqttClient;
let stomp: stompit.Client;
let amqp10: Connection;
let mqtt3: MqttClient;
let stompjs: Stompjs;
const responders: ChildProcess[] = [];
/** No text: 16 octets, as MQTT libraries make them. */
const correlation = Buffer.from('00ff80c0e0f0a1b2c3d4e5f607182930', 'hex');

beforeAll(async () => {
  // what clients of MQTT 3.1.1 cannot say is in their payloads
  const rules = ['#', '$reply/#'].map((filter) => ({ filter, envelope: 'json' }));
  broker = await BrokerProcess.start({ args: ['--set', `listeners.mqtt.v3=${JSON.stringify(rules)}`] });
  amqp = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${broker.port('amqp')}`);
  channel = await amqp.createChannel();
  client = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.port('mqtt')}`, {
    username: 'guest',
    password: 'guest',
    protocolVersion: 5,
  });
  client.setMaxListeners(100);
  stomp = await connectStomp({ host: '127.0.0.1', port: broker.port('stomp'), user: 'guest', password: 'guest' });
  mqtt3 = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.port('mqtt')}`, {
    username: 'guest',
    password: 'guest',
    protocolVersion: 4,
  });
  mqtt3.setMaxListeners(100);
  stompjs = new Stompjs({
    connectHeaders: { login: 'guest', passcode: 'guest' },
    reconnectDelay: 0,
    webSocketFactory: () => new TcpWebSocket(broker.port('stomp')),
  });
  await new Promise<void>((resolve, reject) => {
    stompjs.onConnect = () => resolve();
    stompjs.onStompError = (frame) => reject(new Error(frame.body));
    stompjs.activate();
  });
  amqp10 = rhea
    .create_container()
    .connect({ host: '127.0.0.1', port: broker.port('amqp'), username: 'guest', password: 'guest', reconnect: false });
  await opened(amqp10, 'connection_open');
});

afterAll(async () => {
  for (const responder of responders) responder.kill();
  amqp10?.close();
  await stompjs?.deactivate({ force: true });
  await mqtt3?.endAsync();
  await client?.endAsync();
  await amqp?.close();
  stomp?.destroy();
  await broker?.remove();
});

function opened(emitter: { once(name: string, then: (context: EventContext) => void): unknown }, name: string) {
  return new Promise<EventContext>((resolve) => emitter.once(name, resolve));
}

/** The octets of a data section as text. */
function textOf({ message }: EventContext): string {
  return String(message?.body.content);
}

const toMqtt = (topic: string) => topic.replaceAll('.', '/');

function readStomp(message: stompit.Frame): Promise<string> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    message.on('data', (chunk: Buffer) => chunks.push(chunk));
    message.on('end', () => resolve(Buffer.concat(chunks).toString()));
  });
}

/** Subscribes, and resolves when a receipt of a frame behind it shows that the subscription stands. */
async function subscribeStomp(destination: string, onMessage: (message: stompit.Frame) => void): Promise<void> {
  stomp.subscribe({ destination, ack: 'auto' }, (error, message) => {
    if (!error) onMessage(message);
  });
  await new Promise<void>((resolve, reject) =>
    stomp.send({ destination: '/topic/nobody.listens' }, { onReceipt: resolve, onError: reject }).end(''),
  );
}

const python = join(import.meta.dirname, '../suites/rpc_peer.py');

/** A library of Python, in a process of its own. */
function pythonPeer(library: string, listener: 'mqtt' | 'stomp'): Peer {
  return {
    async respond(topic) {
      const args = [python, library, String(broker.port(listener)), 'respond', topic];
      const responder = spawn('/usr/bin/python3', args, { stdio: ['pipe', 'pipe', 'inherit'] });
      responders.push(responder);
      const [said] = await once(responder.stdout, 'data');
      expect(String(said).trim()).toBe('ready');
    },
    async request(topic, body) {
      const args = [python, library, String(broker.port(listener)), 'request', topic, body];
      const { stdout } = await promisify(execFile)('/usr/bin/python3', args, { timeout: 30_000 });
      return stdout.trim();
    },
  };
}

async function subscribeStompjs(destination: string, onMessage: Parameters<Stompjs['subscribe']>[1]): Promise<void> {
  const receipt = `subscribed ${destination}`;
  const subscribed = new Promise<void>((resolve) => stompjs.watchForReceipt(receipt, () => resolve()));
  stompjs.subscribe(destination, onMessage, { receipt });
  await subscribed;
}

const peers: Record<string, Peer> = {
  stompjs: {
    respond(topic) {
      return subscribeStompjs(`/topic/${topic}`, ({ headers, body }) =>
        stompjs.publish({
          destination: headers['reply-to']!,
          headers: { 'correlation-id': headers['correlation-id']! },
          body: body.toUpperCase(),
        }),
      );
    },
    async request(topic, body) {
      const destination = `/queue/answers-${topic}`;
      let found: (body: string) => void;
      const reply = new Promise<string>((resolve) => {
        found = resolve;
      });
      await subscribeStompjs(destination, (answer) => {
        if (answer.headers['correlation-id'] === `j-${topic}`) found(answer.body);
      });
      const headers = { 'reply-to': destination, 'correlation-id': `j-${topic}` };
      stompjs.publish({ destination: `/topic/${topic}`, headers, body });
      return reply;
    },
  },
  'stomp.py': pythonPeer('stomp.py', 'stomp'),
  paho: pythonPeer('paho', 'mqtt'),
  amqp: {
    async respond(topic) {
      const { queue } = await channel.assertQueue('', { exclusive: true });
      await channel.bindQueue(queue, 'amq.topic', topic);
      await channel.consume(
        queue,
        (message) => {
          const { content, properties } = message as ConsumeMessage;
          channel.sendToQueue(properties.replyTo, Buffer.from(content.toString().toUpperCase()), {
            correlationId: properties.correlationId,
          });
        },
        { noAck: true },
      );
    },
    async request(topic, body) {
      const { queue } = await channel.assertQueue('', { exclusive: true });
      const reply = new Promise<string>((resolve) => {
        channel.consume(
          queue,
          (message) => {
            const { content, properties } = message as ConsumeMessage;
            if (properties.correlationId === `c-${topic}`) resolve(content.toString());
          },
          { noAck: true },
        );
      });
      channel.publish('amq.topic', topic, Buffer.from(body), { replyTo: queue, correlationId: `c-${topic}` });
      return reply;
    },
  },
  amqp10: {
    async respond(topic) {
      const receiver = amqp10.open_receiver(`/exchanges/amq.topic/${topic}`);
      const relay = amqp10.open_sender({ target: {} });
      receiver.on('message', (context: EventContext) => {
        relay.send({
          to: context.message?.reply_to as string,
          correlation_id: context.message?.correlation_id as string,
          body: rhea.message.data_section(Buffer.from(textOf(context).toUpperCase())),
        });
      });
      await Promise.all([opened(receiver, 'receiver_open'), opened(relay, 'sendable')]);
    },
    async request(topic, body) {
      const receiver = amqp10.open_receiver({ source: { dynamic: true } as never });
      await opened(receiver, 'receiver_open');
      const correlationId = rhea.types.wrap_uuid(correlation);
      const reply = new Promise<string>((resolve) => {
        receiver.on('message', (context: EventContext) => {
          if (Buffer.from(context.message?.correlation_id as never).equals(correlation)) resolve(textOf(context));
        });
      });
      const sender = amqp10.open_sender(`/exchanges/amq.topic/${topic}`);
      await opened(sender, 'sendable');
      sender.send({
        reply_to: receiver.source.address,
        correlation_id: correlationId as never,
        body: rhea.message.data_section(Buffer.from(body)),
      });
      return reply;
    },
  },
  mqtt: {
    async respond(topic) {
      client.on('message', (name, body, packet) => {
        if (name !== toMqtt(topic)) return;
        const { responseTopic, correlationData } = packet.properties ?? {};
        client.publish(responseTopic as string, body.toString().toUpperCase(), {
          properties: { correlationData: correlationData as Buffer },
        });
      });
      await client.subscribeAsync(toMqtt(topic));
    },
    async request(topic, body) {
      const responseTopic = `answers/${toMqtt(topic)}`;
      await client.subscribeAsync(responseTopic);
      const reply = new Promise<string>((resolve) => {
        client.on('message', (name, answer, packet) => {
          if (name === responseTopic && packet.properties?.correlationData?.equals(correlation))
            resolve(answer.toString());
        });
      });
      await client.publishAsync(toMqtt(topic), body, { properties: { responseTopic, correlationData: correlation } });
      return reply;
    },
  },
  stomp: {
    respond(topic) {
      return subscribeStomp(`/topic/${topic}`, async (message) => {
        const body = await readStomp(message);
        const headers: Record<string, string> = { destination: message.headers['reply-to'] as string };
        const correlationId = message.headers['correlation-id'];
        if (correlationId !== undefined) headers['correlation-id'] = correlationId;
        stomp.send(headers).end(body.toUpperCase());
      });
    },
    async request(topic, body) {
      const destination = `/queue/answers-${topic}`;
      let found: (body: string) => void;
      const reply = new Promise<string>((resolve) => {
        found = resolve;
      });
      await subscribeStomp(destination, async (message) => {
        const answer = await readStomp(message);
        if (message.headers['correlation-id'] === `c-${topic}`) found(answer);
      });
      stomp.send({ destination: `/topic/${topic}`, 'reply-to': destination, 'correlation-id': `c-${topic}` }).end(body);
      return reply;
    },
  },
  'mqtt 3.1.1 by envelope': {
    async respond(topic) {
      await mqtt3.subscribeAsync(toMqtt(topic));
      mqtt3.on('message', (name, payload) => {
        if (name !== toMqtt(topic)) return;
        const { h, p } = JSON.parse(payload.toString());
        const { 'reply-to': replyTo, 'correlation-id': id, 'correlation-data': octets } = h;
        const answer = { 'correlation-id': id, 'correlation-data': octets, 'content-type': 'text/plain' };
        mqtt3.publish(replyTo, JSON.stringify({ h: answer, p: String(p).toUpperCase() }));
      });
    },
    async request(topic, body) {
      const replyTo = `answers3/${toMqtt(topic)}`;
      await mqtt3.subscribeAsync(replyTo);
      const reply = new Promise<string>((resolve) => {
        mqtt3.on('message', (name, payload) => {
          if (name !== replyTo) return;
          const { h, p } = JSON.parse(payload.toString());
          if (h['correlation-id'] === `e-${topic}`) resolve(p);
        });
      });
      const h = { 'reply-to': replyTo, 'correlation-id': `e-${topic}`, 'content-type': 'text/plain' };
      await mqtt3.publishAsync(toMqtt(topic), JSON.stringify({ h, p: body }));
      return reply;
    },
  },
};

/** Requesters whose reply address passes with them. */
const requesters: Record<string, Peer['request']> = {
  async 'amqp by direct reply-to'(topic, body) {
    const own = await amqp.createChannel();
    const reply = new Promise<string>((resolve) => {
      own.consume(
        'amq.rabbitmq.reply-to',
        (message) => {
          const { content, properties } = message as ConsumeMessage;
          if (properties.correlationId === `d-${topic}`) resolve(content.toString());
        },
        { noAck: true },
      );
    });
    const options = { replyTo: 'amq.rabbitmq.reply-to', correlationId: `d-${topic}` };
    own.publish('amq.topic', topic, Buffer.from(body), options);
    const answer = await reply;
    await own.close();
    return answer;
  },
  async 'stomp by /temp-queue/'(topic, body) {
    const own = await connectStomp({ host: '127.0.0.1', port: broker.port('stomp'), user: 'guest', password: 'guest' });
    const reply = new Promise<string>((resolve, reject) => {
      // stompit hands a message of an implicit subscription to the one of its id
      own.subscribe({ destination: '/temp-queue/answers', ack: 'auto' }, (error, message) => {
        if (error) reject(error);
        else readStomp(message).then(resolve, reject);
      });
    });
    const headers = {
      destination: `/topic/${topic}`,
      'reply-to': '/temp-queue/answers',
      'correlation-id': `t-${topic}`,
    };
    own.send(headers).end(body);
    const answer = await reply;
    own.destroy();
    return answer;
  },
  // ActiveMQ's: subscribed to like any other, and no longer there with its connection
  async 'stomp by /temp-topic/'(topic, body) {
    const own = await connectStomp({ host: '127.0.0.1', port: broker.port('stomp'), user: 'guest', password: 'guest' });
    const reply = new Promise<string>((resolve, reject) => {
      own.subscribe({ destination: '/temp-topic/answers', ack: 'auto' }, (error, message) => {
        if (error) reject(error);
        else if (message.headers['correlation-id'] !== `tt-${topic}`) reject(new Error('not the correlation'));
        else readStomp(message).then(resolve, reject);
      });
    });
    const headers = {
      destination: `/topic/${topic}`,
      'reply-to': '/temp-topic/answers',
      'correlation-id': `tt-${topic}`,
    };
    own.send(headers).end(body);
    const answer = await reply;
    own.destroy();
    return answer;
  },
};

describe('a request with a passing reply address is answered across protocols', () => {
  for (const [from, request] of Object.entries(requesters)) {
    for (const to of Object.keys(peers)) {
      test(`${from} asks, ${to} answers`, async () => {
        const topic = `passing.${from}.${to}`.replaceAll(/[^a-z0-9.]/g, '');
        await peers[to]!.respond(topic);
        expect(await request(topic, 'question')).toBe('QUESTION');
      });
    }
  }
});

describe('a request is answered across protocols by a responder that copies reply address and correlation', () => {
  for (const from of Object.keys(peers)) {
    for (const to of Object.keys(peers)) {
      test(`${from} asks, ${to} answers`, async () => {
        const topic = `rpc.${from}.${to}`.replaceAll(/[^a-z0-9.]/g, '');
        await peers[to]!.respond(topic);
        expect(await peers[from]!.request(topic, 'question')).toBe('QUESTION');
      });
    }
  }
});
