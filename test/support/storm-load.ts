/**
 * A crowd against a broker, as a process of its own: `node storm-load.ts KIND COUNT FROM AMQP_PORT MQTT_PORT STOMP_PORT`.
 * Prints one line of JSON when it is done: how many came to which end.
 */
import { connect, type Socket } from 'node:net';

const [kind, countText, localAddress, ...portTexts] = process.argv.slice(2);
const count = Number(countText);
const ports = portTexts.map(Number) as [amqp: number, mqtt: number, stomp: number];
/** Connections that may be on their way at a time: the listener's backlog is not what is tested. */
const pendingMax = 500;

const amqpHeader = Buffer.from('AMQP\0\0\x09\x01', 'latin1');
const ends: Record<string, number> = {};
const note = (end: string): void => {
  ends[end] = (ends[end] ?? 0) + 1;
};

function mqttConnect(user: string, password: string, clientId: string): Buffer {
  const text = (value: string): Buffer => {
    const octets = Buffer.from(value);
    return Buffer.concat([Buffer.from([octets.length >> 8, octets.length & 255]), octets]);
  };
  const body = Buffer.concat([text('MQTT'), Buffer.from([4, 0xc2, 0, 0]), text(clientId), text(user), text(password)]);
  return Buffer.concat([Buffer.from([0x10, body.length]), body]);
}

const stompConnect = (user: string, password: string): Buffer =>
  Buffer.from(`CONNECT\naccept-version:1.2\nhost:/\nlogin:${user}\npasscode:${password}\n\n\0`);

function startOk(user: string, password: string): Buffer {
  const response = Buffer.from(`\0${user}\0${password}`);
  const args = Buffer.concat([
    Buffer.from([0, 10, 0, 11, 0, 0, 0, 0, 5]),
    Buffer.from('PLAIN'),
    Buffer.from([0, 0, 0, response.length]),
    response,
    Buffer.from([5]),
    Buffer.from('en_US'),
  ]);
  return Buffer.concat([Buffer.from([1, 0, 0, 0, 0, 0, args.length]), args, Buffer.from([0xce])]);
}

type Visit = (i: number) => Promise<void>;

function open(port: number): Socket {
  return connect({ port, host: '127.0.0.1', noDelay: true, ...(localAddress ? { localAddress } : {}) });
}

/** Says a little, and then nothing, until the broker has had enough. */
const halfOpen: Visit = (i) =>
  new Promise((resolve) => {
    const socket = open(ports[i % 3]!);
    socket.on('connect', () => socket.write(['AMQP', '\x10', 'CONN'][i % 3]!));
    socket.on('error', () => {});
    socket.resume();
    socket.on('close', () => {
      note('closed by the broker');
      resolve();
    });
  });

/** Says what it has to say and waits for the answer; stays if it was let in. */
const logIn =
  (passwordOf: (i: number) => readonly [user: string, password: string], stay: Socket[] | null): Visit =>
  (i) =>
    new Promise((resolve) => {
      const [user, password] = passwordOf(i);
      const socket = open(ports[i % 3]!);
      let said = false;
      const end = (what: string): void => {
        if (said) return;
        said = true;
        note(what);
        if (stay !== null && what === 'let in') stay.push(socket);
        else socket.destroy();
        resolve();
      };
      socket.on('connect', () => {
        socket.write([amqpHeader, mqttConnect(user, password, `storm-${i}`), stompConnect(user, password)][i % 3]!);
      });
      socket.on('data', (chunk: Buffer) => {
        if (i % 3 === 1) return end(chunk[3] === 0 ? 'let in' : 'refused');
        if (i % 3 === 2) return end(chunk.toString('latin1').startsWith('CONNECTED') ? 'let in' : 'refused');
        // AMQP: connection.start, then connection.tune for who is let in
        if (chunk.readUInt16BE(9) === 10) socket.write(startOk(user, password));
        else end(chunk.readUInt16BE(9) === 30 ? 'let in' : 'refused');
      });
      socket.on('error', () => {});
      socket.on('close', () => end('refused'));
    });

async function crowd(visit: Visit, atOnce: number): Promise<void> {
  let next = 0;
  const walk = async (): Promise<void> => {
    for (let i = next++; i < count; i = next++) await visit(i);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, walk));
}

switch (kind) {
  case 'half-open':
    await crowd(halfOpen, count);
    break;
  case 'wrong-passwords':
    await crowd(
      logIn((i) => [i % 2 === 0 ? 'victim' : `nobody-${i}`, `wrong-${i}`], null),
      pendingMax,
    );
    break;
  case 'connects': {
    const stay: Socket[] = [];
    await crowd(
      logIn(() => ['crowd', 'crowd'], stay),
      pendingMax,
    );
    for (const socket of stay) socket.destroy();
    break;
  }
  default:
    throw new Error(`no storm of kind ${kind}`);
}
process.stdout.write(`${JSON.stringify(ends)}\n`);
