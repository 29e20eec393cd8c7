import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { methods } from '../../src/protocols/amqp091/spec.ts';
import { findZeros } from '../../src/storage/segment.ts';
import { AmqpPeer } from '../support/amqp-peer.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { MqttPeer, type Received, type Version } from '../support/mqtt-peer.ts';
import { StompWire } from '../support/stomp-wire.ts';

let home: string;
let dataDir: string;
let broker: BrokerProcess;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'rosettamq-'));
  dataDir = join(home, 'data');
  broker = await BrokerProcess.start({ dataDir });
});

afterEach(async () => {
  await broker.remove();
  await rm(home, { recursive: true, force: true });
});

async function killAndStart(): Promise<void> {
  await broker.kill();
  broker = await BrokerProcess.start({ dataDir });
}

/** The bodies of all that waits in the queue; they are taken. */
async function bodiesIn(queue: string): Promise<string[]> {
  const peer = await AmqpPeer.openChannel(broker.port('amqp'));
  const bodies: string[] = [];
  for (let content = await peer.get(queue); content !== null; content = await peer.get(queue)) {
    bodies.push(content.body.toString());
  }
  peer.destroy();
  return bodies;
}

/** A queue that gets what is published to the topic `t`. */
async function bindQueue(): Promise<void> {
  const peer = await AmqpPeer.openChannel(broker.port('amqp'));
  await peer.declare('q', { durable: true });
  const binding = { queue: 'q', exchange: 'amq.topic', routingKey: 't' };
  await peer.call(1, methods.queueBind, binding, methods.queueBindOk);
  peer.destroy();
}

describe.each<Version>([5, 4])('QoS 2 of MQTT %s, half way at kill -9', (version) => {
  async function connect(sessionPresent: boolean): Promise<MqttPeer> {
    const properties = version === 5 ? { properties: { sessionExpiryInterval: 3600 } } : {};
    const { peer, connack } = await MqttPeer.connect(broker, { clientId: 'c', clean: false, ...properties }, version);
    expect(connack.sessionPresent).toBe(sessionPresent);
    return peer;
  }

  async function answered(peer: MqttPeer, cmd: string): Promise<Received> {
    const packet = await peer.next();
    expect(packet).toMatchObject({ cmd, messageId: 7 });
    return packet;
  }

  test('received, PUBREC sent: the PUBLISH that comes again is the same message', async () => {
    await bindQueue();
    const peer = await connect(false);
    peer.publish('t', 'once', { qos: 2, messageId: 7 });
    await answered(peer, 'pubrec');
    await killAndStart();
    const again = await connect(true);
    again.publish('t', 'once', { qos: 2, messageId: 7, dup: true });
    await answered(again, 'pubrec');
    again.send({ cmd: 'pubrel', messageId: 7 });
    await answered(again, 'pubcomp');
    expect(await bodiesIn('q')).toEqual(['once']);
  });

  test('received, PUBREL answered: the PUBREL that comes again is answered, and the packet id stands for another message', async () => {
    await bindQueue();
    const peer = await connect(false);
    peer.publish('t', 'first', { qos: 2, messageId: 7 });
    await answered(peer, 'pubrec');
    peer.send({ cmd: 'pubrel', messageId: 7 });
    await answered(peer, 'pubcomp');
    await killAndStart();
    const again = await connect(true);
    again.send({ cmd: 'pubrel', messageId: 7 });
    const { reasonCode } = await answered(again, 'pubcomp');
    if (version === 5) expect(reasonCode).toBe(0x92); // packet identifier not found
    again.publish('t', 'second', { qos: 2, messageId: 7 });
    await answered(again, 'pubrec');
    expect(await bodiesIn('q')).toEqual(['first', 'second']);
  });

  /** A subscriber to whom `body` was sent. @returns the packet id */
  async function sendTo(peer: MqttPeer, body: string): Promise<number> {
    await peer.subscribe('t', { qos: 2 });
    const { peer: publisher } = await MqttPeer.connect(broker, { clientId: 'publisher' });
    publisher.publish('t', body, { qos: 2, messageId: 7 });
    await answered(publisher, 'pubrec');
    const { messageId, dup, payload } = await peer.nextOf('publish');
    expect([dup, payload.toString()]).toEqual([false, body]);
    return messageId;
  }

  test('sent, no PUBREC: the PUBLISH goes again with its packet id, as a duplicate', async () => {
    const messageId = await sendTo(await connect(false), 'once');
    await killAndStart();
    const again = await connect(true);
    const packet = await again.next();
    expect([packet.cmd, packet.messageId, packet.dup, packet.payload.toString()]).toEqual([
      'publish',
      messageId,
      true,
      'once',
    ]);
    again.send({ cmd: 'pubrec', messageId });
    expect(await again.next()).toMatchObject({ cmd: 'pubrel', messageId });
    again.send({ cmd: 'pubcomp', messageId });
    await again.nothing();
  });

  test('sent, PUBREL seen: it alone goes again, and no PUBLISH', async () => {
    const peer = await connect(false);
    const messageId = await sendTo(peer, 'once');
    peer.send({ cmd: 'pubrec', messageId });
    expect(await peer.next()).toMatchObject({ cmd: 'pubrel', messageId });
    await killAndStart();
    const again = await connect(true);
    expect(await again.next()).toMatchObject({ cmd: 'pubrel', messageId });
    again.send({ cmd: 'pubcomp', messageId });
    await again.nothing();
    // the answer of what is written behind it says that it is on the disk
    await again.subscribe('another', { qos: 2 });
    await killAndStart();
    const last = await connect(true);
    await last.nothing();
  });
});

const segment = '0000000001.segment';
/** Of several batches. */
const bodies = Array.from({ length: 24 }, (_, i) => String(i).padStart(3, '0').padEnd(100_000, '.'));

/** Delivery mode 2. */
const persistent = Buffer.from([0x10, 0, 2]);

/**
 * A transaction that takes `old` from the queue `q` and publishes `bodies` to it. It is committed; then the log is cut
 * where the process, or the power, could have ended while it was written.
 */
async function cutTransaction(commit: () => Promise<void>): Promise<void> {
  const before = (await readLog()).length;
  await commit();
  await broker.kill();
  const log = await readLog();
  const manifest = await readFile(join(dataDir, 'MANIFEST'));
  expect(log.length).toBeGreaterThan(before + bodies.length * 100_000);
  for (const share of [0.001, 0.3, 0.7, 0.9999, 1]) {
    const directory = await mkdtemp(join(home, 'cut-'));
    await writeFile(join(directory, 'MANIFEST'), manifest);
    await writeFile(join(directory, segment), log.subarray(0, before + Math.floor((log.length - before) * share)));
    broker = await BrokerProcess.start({ dataDir: directory });
    const expected = share === 1 ? bodies.map((body) => body.slice(0, 3)) : ['old'];
    expect(await firstOctets('q'), `cut at ${share}`).toEqual(expected);
    await broker.kill();
  }
}

/** Without the room that is prepared behind its end. */
async function readLog(): Promise<Buffer> {
  const file = await readFile(join(dataDir, segment));
  return file.subarray(0, findZeros(file, 0));
}

/** Of all that waits in the queue; it stays there. */
async function firstOctets(queue: string): Promise<string[]> {
  const peer = await AmqpPeer.openChannel(broker.port('amqp'));
  const found: string[] = [];
  for (let content = await peer.get(queue, false); content !== null; content = await peer.get(queue, false)) {
    found.push(content.body.toString('latin1', 0, 3));
  }
  peer.destroy();
  return found;
}

async function putOld(): Promise<void> {
  const peer = await AmqpPeer.openChannel(broker.port('amqp'));
  await peer.call(1, methods.confirmSelect, {}, methods.confirmSelectOk);
  await peer.declare('q', { durable: true });
  peer.publish(1, { routingKey: 'q' }, 'old', persistent);
  await peer.expect(1, methods.basicAck);
  peer.destroy();
}

test('a transaction of AMQP 0-9-1 that was half written has not happened: nothing published, nothing acked', async () => {
  await putOld();
  const peer = await AmqpPeer.openChannel(broker.port('amqp'));
  await peer.call(1, methods.txSelect, {}, methods.txSelectOk);
  await peer.get('q', false);
  await cutTransaction(async () => {
    for (const body of bodies) peer.publish(1, { routingKey: 'q' }, body, persistent);
    peer.send(1, methods.basicAck, { deliveryTag: 1 });
    await peer.call(1, methods.txCommit, {}, methods.txCommitOk);
  });
});

test('a transaction of STOMP that was half written has not happened', async () => {
  await putOld();
  const peer = await StompWire.login(broker.port('stomp'));
  await peer.subscribe('s', '/amq/queue/q', 'ack:client-individual\n');
  const { headers } = await peer.next();
  await cutTransaction(async () => {
    peer.send('BEGIN\ntransaction:t\n\n\0');
    for (const body of bodies) {
      peer.send(`SEND\ndestination:/amq/queue/q\ntransaction:t\npersistent:true\n\n${body}\0`);
    }
    peer.send(`ACK\nid:${headers['ack']}\ntransaction:t\n\n\0`);
    peer.send('COMMIT\ntransaction:t\nreceipt:done\n\n\0');
    // what it published comes to it ahead of that
    for (let frame = await peer.next(); frame.command !== 'RECEIPT'; ) frame = await peer.next();
  });
});

test.each(['AMQP 0-9-1', 'STOMP'])('a transaction of %s that was not committed has not happened', async (protocol) => {
  await putOld();
  if (protocol === 'STOMP') {
    const peer = await StompWire.login(broker.port('stomp'));
    await peer.subscribe('s', '/amq/queue/q', 'ack:client-individual\n');
    const { headers } = await peer.next();
    await peer.confirm('BEGIN\ntransaction:t\n\n\0');
    peer.send('SEND\ndestination:/amq/queue/q\ntransaction:t\npersistent:true\n\nnew\0');
    peer.send(`ACK\nid:${headers['ack']}\ntransaction:t\n\n\0`);
    await peer.publish('/amq/queue/other', 'behind it', 'persistent:true\n');
  } else {
    const peer = await AmqpPeer.openChannel(broker.port('amqp'));
    await peer.call(1, methods.txSelect, {}, methods.txSelectOk);
    await peer.get('q', false);
    peer.publish(1, { routingKey: 'q' }, 'new', persistent);
    peer.send(1, methods.basicAck, { deliveryTag: 1 });
    await peer.declare('other', { durable: true }); // behind it
  }
  await killAndStart();
  expect(await firstOctets('q')).toEqual(['old']);
});
