import amqplib from 'amqplib';
import mqtt from 'mqtt';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.ts';
import { RawPeer } from '../support/raw-peer.ts';

let broker: BrokerProcess;
const peers: RawPeer[] = [];

beforeAll(async () => {
  broker = await BrokerProcess.start();
});

afterAll(() => broker?.remove());

async function connect(listener: string): Promise<RawPeer> {
  const peer = await RawPeer.connect(broker.port(listener));
  peers.push(peer);
  return peer;
}

/** After whatever the test did, well-behaved clients are served on every port. */
afterEach(async () => {
  for (const peer of peers.splice(0)) peer.destroy();
  const amqp = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${broker.port('amqp')}`);
  await amqp.close();
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.port('mqtt')}`, {
    username: 'guest',
    password: 'guest',
    reconnectPeriod: 0,
  });
  await client.endAsync();
  const stomp = await RawPeer.connect(broker.port('stomp'));
  stomp.write('CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\0');
  await stomp.untilText('CONNECTED\n');
  stomp.destroy();
});

const amqpHeader = Buffer.from('AMQP\0\0\x09\x01', 'latin1');

function frame(type: number, channel: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(7);
  head[0] = type;
  head.writeUInt16BE(channel, 1);
  head.writeUInt32BE(payload.length, 3);
  return Buffer.concat([head, payload, Buffer.from([0xce])]);
}

/** connection.start-ok with PLAIN and no client properties but the given capability. */
function startOk(password: string, understandsClose: boolean): Buffer {
  const capability = Buffer.concat([short('authentication_failure_close'), Buffer.from([0x74, 1])]);
  const capabilities = Buffer.concat([short('capabilities'), Buffer.from('F'), long(capability)]);
  const properties = long(understandsClose ? capabilities : Buffer.alloc(0));
  const response = long(Buffer.from(`\0guest\0${password}`));
  const args = Buffer.concat([properties, short('PLAIN'), response, short('en_US')]);
  return frame(1, 0, Buffer.concat([Buffer.from([0, 10, 0, 11]), args]));
}

function short(text: string): Buffer {
  return Buffer.concat([Buffer.from([text.length]), Buffer.from(text)]);
}

function long(octets: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(octets.length);
  return Buffer.concat([length, octets]);
}

/** True when the octets end with a whole frame that begins with the class and method. */
function hasMethod(received: Buffer, classId: number, methodId: number): boolean {
  return received.includes(Buffer.from([0, classId, 0, methodId])) && received.at(-1) === 0xce;
}

describe('AMQP 0-9-1', () => {
  test('[§4.2.2] octets that are no protocol header are answered with ours, and a close', async () => {
    const peer = await connect('amqp');
    peer.write('GET / HTTP/1.1\r\n\r\n');
    expect(await peer.untilEnd()).toEqual(amqpHeader);
  });

  test('[§4.2.2] so is the header of another version', async () => {
    const peer = await connect('amqp');
    peer.write(Buffer.from('AMQP\x01\x01\x08\x00', 'latin1'));
    expect(await peer.untilEnd()).toEqual(amqpHeader);
  });

  test('[§4.2.3] a frame that announces more than frame_max ends a handshake at once, without its octets and without a word', async () => {
    const peer = await connect('amqp');
    peer.write(amqpHeader);
    await peer.until((received) => hasMethod(received, 10, 10));
    peer.clear();
    peer.write(Buffer.from([1, 0, 0, 0xff, 0xff, 0xff, 0xff]));
    const received = await peer.untilEnd();
    expect(received).toEqual(Buffer.alloc(0)); // who has not logged in is told nothing
  });

  test('a wrong password is 403 for a client that understands it', async () => {
    const peer = await connect('amqp');
    peer.write(amqpHeader);
    await peer.until((received) => hasMethod(received, 10, 10));
    peer.clear();
    peer.write(startOk('wrong', true));
    const received = await peer.until((octets) => hasMethod(octets, 10, 50));
    expect(received.readUInt16BE(11)).toBe(403);
    expect(received.toString('latin1')).toContain(
      'ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN',
    );
  });

  test('a wrong password is a closed connection for a client that does not', async () => {
    const peer = await connect('amqp');
    peer.write(amqpHeader);
    await peer.until((received) => hasMethod(received, 10, 10));
    peer.clear();
    peer.write(startOk('wrong', false));
    expect(await peer.untilEnd()).toEqual(Buffer.alloc(0));
  });

  test('a connection that breaks off in the middle of a publish leaves no message', async () => {
    const amqp = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${broker.port('amqp')}`);
    const channel = await amqp.createChannel();
    await channel.assertQueue('cut');
    const breaking = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${broker.port('amqp')}`);
    breaking.on('error', () => {});
    await breaking.createChannel();
    const socket = (breaking as unknown as { connection: { stream: { write(octets: Buffer): void; destroy(): void } } })
      .connection.stream;
    const publish = Buffer.concat([Buffer.from([0, 60, 0, 40, 0, 0]), short(''), short('cut'), Buffer.from([0])]);
    socket.write(Buffer.concat([frame(1, 1, publish), Buffer.from([2, 0, 1, 0, 0])]));
    socket.destroy();
    await channel.checkQueue('cut'); // a round trip behind the broken peer's octets
    expect(await channel.checkQueue('cut')).toMatchObject({ messageCount: 0 });
    await channel.deleteQueue('cut');
    await amqp.close();
  });
});

describe('MQTT', () => {
  const connect5 = (password: string): Buffer => mqttConnect(5, password);

  function mqttConnect(level: number, password: string): Buffer {
    const properties = level === 5 ? Buffer.from([0]) : Buffer.alloc(0);
    const text = (value: string): Buffer => Buffer.concat([Buffer.from([0, value.length]), Buffer.from(value)]);
    const head = Buffer.concat([text('MQTT'), Buffer.from([level, 0xc2, 0, 60]), properties]);
    const body = Buffer.concat([head, text('hostile'), text('guest'), text(password)]);
    return Buffer.concat([Buffer.from([0x10, body.length]), body]);
  }

  test('[MQTT-3.1.0-1] a first packet that is not CONNECT is a closed connection', async () => {
    const peer = await connect('mqtt');
    peer.write(Buffer.from([0xc0, 0]));
    expect(await peer.untilEnd()).toEqual(Buffer.alloc(0));
  });

  test('octets of another protocol are a closed connection', async () => {
    const peer = await connect('mqtt');
    peer.write('GET / HTTP/1.1\r\n\r\n');
    expect(await peer.untilEnd()).toEqual(Buffer.alloc(0));
  });

  test('a remaining length of five octets is malformed: a closed connection', async () => {
    const peer = await connect('mqtt');
    peer.write(Buffer.from([0x10, 0xff, 0xff, 0xff, 0xff, 0x7f]));
    expect(await peer.untilEnd()).toEqual(Buffer.alloc(0));
  });

  test('5.0: a packet that announces more than the maximum is DISCONNECT 0x95 at once', async () => {
    const peer = await connect('mqtt');
    peer.write(connect5('guest'));
    await peer.until((received) => received.length > 2 && received.length >= 2 + received[1]!);
    peer.clear();
    peer.write(Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f]));
    const received = await peer.untilEnd(); // DISCONNECT, its length of one octet, the reason code, a reason string
    expect([received[0], received[2]]).toEqual([0xe0, 0x95]);
    expect(received.length).toBe(2 + received[1]!);
  });

  test('3.1.1: the same is a closed connection', async () => {
    const peer = await connect('mqtt');
    peer.write(mqttConnect(4, 'guest'));
    expect(await peer.atLeast(4)).toEqual(Buffer.from([0x20, 2, 0, 0]));
    peer.clear();
    peer.write(Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f]));
    expect(await peer.untilEnd()).toEqual(Buffer.alloc(0));
  });

  test('a wrong password is 0x86 in 5.0 and 4 in 3.1.1', async () => {
    const five = await connect('mqtt');
    five.write(connect5('wrong'));
    expect((await five.untilEnd()).readUInt16BE(2)).toBe(0x0086);
    const four = await connect('mqtt');
    four.write(mqttConnect(4, 'wrong'));
    expect(await four.untilEnd()).toEqual(Buffer.from([0x20, 2, 0, 4]));
  });

  test('a connection that breaks off in the middle of a PUBLISH publishes nothing', async () => {
    const subscriber = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.port('mqtt')}`, {
      username: 'guest',
      password: 'guest',
    });
    const topics: string[] = [];
    subscriber.on('message', (topic) => topics.push(topic));
    await subscriber.subscribeAsync('hostile/#');
    const peer = await connect('mqtt');
    peer.write(mqttConnect(4, 'guest'));
    await peer.atLeast(4);
    peer.write(Buffer.concat([Buffer.from([0x30, 100, 0, 13]), Buffer.from('hostile/break')]));
    peer.destroy();
    const seen = new Promise((resolve) => subscriber.once('message', resolve));
    await subscriber.publishAsync('hostile/whole', '');
    await seen;
    expect(topics).toEqual(['hostile/whole']);
    await subscriber.endAsync();
  });
});

describe('STOMP', () => {
  const login = (passcode: string): string =>
    `CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:${passcode}\n\n\0`;

  test('octets that are no command are an ERROR and a close', async () => {
    const peer = await connect('stomp');
    peer.write(Buffer.from('\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on and on', 'latin1'));
    expect((await peer.untilEnd()).toString()).toMatch(/^ERROR\n/);
  });

  test('a frame before CONNECT is an ERROR and a close', async () => {
    const peer = await connect('stomp');
    peer.write('SEND\ndestination:/queue/x\n\nbody\0');
    expect((await peer.untilEnd()).toString()).toMatch(/^ERROR\nmessage:Illegal command\n/);
  });

  test('a content-length above the limit is an ERROR at once, without the body', async () => {
    const peer = await connect('stomp');
    peer.write(login('guest'));
    await peer.untilText('\n\n\0');
    peer.clear();
    peer.write('SEND\ndestination:/queue/x\ncontent-length:99999999999\n\n');
    expect((await peer.untilEnd()).toString()).toMatch(/^ERROR\nmessage:Message too large\n/);
  });

  test('a header line above the limit is an ERROR, without its end', async () => {
    const peer = await connect('stomp');
    peer.write(login('guest'));
    await peer.untilText('\n\n\0');
    peer.clear();
    peer.write(`SEND\nx:${'y'.repeat(70_000)}`);
    expect((await peer.untilEnd()).toString()).toMatch(/^ERROR\nmessage:Malformed frame\n/);
  });

  test('a wrong passcode is an ERROR and a close', async () => {
    const peer = await connect('stomp');
    peer.write(login('wrong'));
    expect((await peer.untilEnd()).toString()).toMatch(/^ERROR\nmessage:Bad CONNECT\n[\s\S]*Access refused/);
  });

  test('a connection that breaks off in the middle of a SEND sends nothing', async () => {
    const subscriber = await connect('stomp');
    subscriber.write(login('guest'));
    await subscriber.untilText('\n\n\0');
    subscriber.write('SUBSCRIBE\nid:1\ndestination:/topic/hostile\nreceipt:s\n\n\0');
    await subscriber.untilText('receipt-id:s');
    const peer = await connect('stomp');
    peer.write(login('guest'));
    await peer.untilText('\n\n\0');
    peer.write('SEND\ndestination:/topic/hostile\ncontent-length:5\n\nhal');
    peer.destroy();
    subscriber.clear();
    subscriber.write('SEND\ndestination:/topic/hostile\n\nwhole\0');
    const received = await subscriber.untilText('whole\0');
    expect(received.toString().match(/MESSAGE\n/g)).toHaveLength(1);
  });
});
