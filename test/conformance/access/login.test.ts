import { networkInterfaces } from 'node:os';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { encodeMethod } from '../../../src/protocols/amqp091/methods.ts';
import { methods, protocolHeader } from '../../../src/protocols/amqp091/spec.ts';
import { RawPeer } from '../../support/raw-peer.ts';
import { AccessServer, plainUser } from './world.ts';

const everywhere = { '/': { configure: '.*', write: '.*', read: '.*' } };
const users = { anna: { ...plainUser, permissions: everywhere }, closed: { ...plainUser, permissions: {} } };
/** An address of this machine that is not the loopback one; undefined where there is none. */
const outside = Object.values(networkInterfaces())
  .flatMap((each) => each ?? [])
  .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;

let server: AccessServer;
let open: AccessServer;
beforeAll(async () => {
  const everyInterface = (config: Parameters<NonNullable<Parameters<typeof AccessServer.start>[1]>>[0]) => ({
    ...config,
    listeners: Object.fromEntries(
      Object.entries(config.listeners).map(([name, listener]) => [name, { ...listener, host: '0.0.0.0' }]),
    ),
  });
  server = await AccessServer.start(users, everyInterface);
  open = await AccessServer.start(users, (config) => ({ ...config, anonymous: { enabled: true, user: 'anna' } }));
});
afterAll(async () => {
  await server?.stop();
  await open?.stop();
});

interface Login {
  readonly user: string;
  readonly password: string;
}

/** Octets of a log-in, and of what lets in. */
interface Door {
  readonly listener: string;
  readonly greeting?: { sends: Buffer; awaits: (received: Buffer) => boolean };
  readonly logIn: (login: Login | null) => Buffer;
  readonly isIn: (received: Buffer) => boolean;
}

const frameEnds = (received: Buffer): boolean => received.length >= 8 && received.at(-1) === 0xce;

function startOk(login: Login | null): Buffer {
  const capabilities = new Map([['capabilities', new Map([['authentication_failure_close', true]])]]);
  return encodeMethod(0, methods.connectionStartOk, {
    clientProperties: capabilities,
    mechanism: login === null ? 'ANONYMOUS' : 'PLAIN',
    response: login === null ? '' : `\0${login.user}\0${login.password}`,
    locale: 'en_US',
  });
}

function mqttConnect(level: 4 | 5): (login: Login | null) => Buffer {
  const text = (value: string): Buffer => Buffer.concat([Buffer.from([0, value.length]), Buffer.from(value)]);
  return (login) => {
    const parts = [text('MQTT'), Buffer.from([level, login === null ? 2 : 0xc2, 0, 0])];
    if (level === 5) parts.push(Buffer.from([0]));
    parts.push(text('c1'));
    if (login !== null) parts.push(text(login.user), text(login.password));
    const body = Buffer.concat(parts);
    return Buffer.concat([Buffer.from([0x10, body.length]), body]);
  };
}

const doors: Record<string, Door> = {
  'AMQP 0-9-1': {
    listener: 'amqp',
    greeting: { sends: protocolHeader, awaits: frameEnds },
    logIn: startOk,
    isIn: (received) => received.length > 11 && received.readUInt16BE(9) === methods.connectionTune.methodId,
  },
  'MQTT 3.1.1': {
    listener: 'mqtt',
    logIn: mqttConnect(4),
    isIn: (received) => received[0] === 0x20 && received[3] === 0,
  },
  'MQTT 5': {
    listener: 'mqtt',
    logIn: mqttConnect(5),
    isIn: (received) => received[0] === 0x20 && received.length > 3 && received[3] === 0,
  },
  'STOMP 1.2': {
    listener: 'stomp',
    logIn: (login) =>
      Buffer.from(
        `CONNECT\naccept-version:1.2\nhost:/\n${login === null ? '' : `login:${login.user}\npasscode:${login.password}\n`}\n\0`,
      ),
    isIn: (received) => received.toString().startsWith('CONNECTED\n'),
  },
};

/** @returns all that the broker said to it; `let in` when it was */
async function attempt(
  at: AccessServer,
  door: Door,
  login: Login | null,
  host = '127.0.0.1',
): Promise<Buffer | 'let in'> {
  const peer = await RawPeer.connect(at.port(door.listener), host);
  if (door.greeting !== undefined) {
    peer.write(door.greeting.sends);
    await peer.until(door.greeting.awaits);
    peer.clear();
  }
  peer.write(door.logIn(login));
  try {
    await peer.until((received) => door.isIn(received) || (door.greeting !== undefined && frameEnds(received)));
    const received = await peer.until(() => true);
    return door.isIn(received) ? 'let in' : received;
  } catch {
    return await peer.untilEnd();
  } finally {
    peer.destroy();
  }
}

describe.each(Object.entries(doors))('%s', (_name, door) => {
  test('a wrong password and an unknown user get the same octets', async () => {
    // of the same length, for AMQP's reply has a text about the mechanism, and MQTT 5 a reason
    const wrong = await attempt(server, door, { user: 'anna', password: 'no' });
    const unknown = await attempt(server, door, { user: 'bert', password: 'no' });
    const named = (answer: Buffer | string) => answer.toString('latin1').replace(/anna|bert/g, 'user');
    expect(wrong).not.toBe('let in');
    expect(wrong.length).toBeGreaterThan(0);
    expect(named(wrong as Buffer)).toBe(named(unknown as Buffer));
  });

  test('guest comes from this machine', async () => {
    expect(await attempt(server, door, { user: 'guest', password: 'guest' })).toBe('let in');
  });

  test.skipIf(outside === undefined)('and from no other (needs an address that is not loopback)', async () => {
    expect(await attempt(server, door, { user: 'guest', password: 'guest' }, outside)).not.toBe('let in');
    expect(await attempt(server, door, { user: 'anna', password: 'pw' }, outside)).toBe('let in');
  });

  test('nobody comes without a name, unless the switch is on', async () => {
    expect(await attempt(server, door, null)).not.toBe('let in');
    expect(await attempt(open, door, null)).toBe('let in');
  });

  test('with the switch on, a wrong password is still wrong', async () => {
    expect(await attempt(open, door, { user: 'anna', password: 'no' })).not.toBe('let in');
  });
});
