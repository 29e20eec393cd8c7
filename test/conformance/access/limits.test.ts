import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Config } from '../../../src/config/schema.ts';
import { methods } from '../../../src/protocols/amqp091/spec.ts';
import { AmqpPeer, contentFrames, frame, headerFrame } from '../../support/amqp-peer.ts';
import { Amqp10Peer } from '../../support/amqp10-peer.ts';
import { MqttPeer } from '../../support/mqtt-peer.ts';
import { RawPeer } from '../../support/raw-peer.ts';
import { StompWire } from '../../support/stomp-wire.ts';
import { AccessServer, plainUser } from './world.ts';

const bodyMax = 16 * 1024 * 1024;
const packetMax = bodyMax + 128 * 1024;

/** For the tests of one limit. */
function withLimits(change: (config: Config) => Config, run: (server: () => AccessServer) => void): void {
  let server: AccessServer;
  const everything = { configure: '.*', write: '.*', read: '.*' };
  beforeAll(async () => {
    server = await AccessServer.start({ anna: { ...plainUser, permissions: { '/': everything } } }, change);
  });
  afterAll(() => server?.stop());
  run(() => server);
}

const limit =
  (limits: Partial<Config['limits']>) =>
  (config: Config): Config => ({
    ...config,
    limits: { ...config.limits, ...limits },
  });

async function stompAnswer(server: AccessServer, login = 'guest:guest'): Promise<[StompWire, string, string]> {
  const wire = await StompWire.open(server.port('stomp'));
  const [user, password] = login.split(':');
  wire.send(`CONNECT\naccept-version:1.2\nhost:/\nlogin:${user}\npasscode:${password}\n\n\0`);
  const { command, body } = await wire.next();
  return [wire, command, body.toString().trimEnd()];
}

/** One more connection than there may be is told so in its protocol; those that are there go on. */
function refusesOneMore(server: () => AccessServer, text: string): void {
  let first: AmqpPeer;
  let second: MqttPeer;
  beforeAll(async () => {
    first = await AmqpPeer.openChannel(server().port('amqp'));
    second = (await MqttPeer.connect(server())).peer;
  });
  afterAll(async () => {
    await first.declare('', { exclusive: true });
    await second.nothing();
    first.destroy();
    second.destroy();
  });

  test('AMQP: 530 not-allowed', async () => {
    const peer = await AmqpPeer.connect(server().port('amqp'));
    await expect(peer.handshake({})).rejects.toThrow(`NOT_ALLOWED - ${text}`);
    peer.destroy();
  });

  test('MQTT: 0x97 quota exceeded, in 3.1.1 server unavailable', async () => {
    const five = await MqttPeer.connect(server());
    expect(five.connack.reasonCode).toBe(0x97);
    expect(await five.peer.end()).toEqual([]);
    const four = await MqttPeer.connect(server(), {}, 4);
    expect(four.connack.returnCode).toBe(3);
    expect(await four.peer.end()).toEqual([]);
  });

  test('STOMP: ERROR', async () => {
    const [wire, command, body] = await stompAnswer(server());
    expect([command, body]).toEqual(['ERROR', text]);
    await wire.closed();
  });
}

describe('connections in all', () => {
  withLimits(limit({ connections: 2 }), (server) =>
    refusesOneMore(server, "access to vhost '/' refused for user 'guest': connection limit (2) is reached"),
  );
});

describe('connections of a user', () => {
  withLimits(limit({ connectionsPerUser: 2 }), (server) => {
    refusesOneMore(server, "connection refused for user 'guest': user connection limit (2) is reached");

    test('another user comes in', async () => {
      const peer = await AmqpPeer.open(server().port('amqp'), { user: 'anna', password: 'pw' });
      peer.destroy();
    });
  });
});

describe('connections from an address', () => {
  withLimits(limit({ connectionsPerAddress: 2 }), (server) => {
    test('one more is closed without a word, before it has said one; when one has gone, one may come', async () => {
      const first = await AmqpPeer.open(server().port('amqp'));
      const { peer: second } = await MqttPeer.connect(server());
      for (const listener of ['amqp', 'mqtt', 'stomp', 'mqttWs']) {
        const peer = await RawPeer.connect(server().port(listener));
        if (listener.endsWith('Ws')) peer.write(upgrade);
        // WebSocket's octets are a connection's once they are upgraded
        expect((await peer.untilEnd()).toString()).toMatch(listener.endsWith('Ws') ? /^HTTP\/1\.1 101 / : /^$/);
      }
      await second.nothing();
      await second.leave();
      // its place is free when its socket is gone, which is a moment after its end was sent
      const answer = async () => {
        const [wire, command] = await stompAnswer(server()).catch(() => [null, 'not yet'] as const);
        wire?.destroy();
        return command;
      };
      await expect.poll(answer).toBe('CONNECTED');
      first.destroy();
    });
  });
});

const upgrade =
  'GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n' +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n';

describe('queues of a virtual host', () => {
  withLimits(limit({ queuesPerVhost: 1 }), (server) => {
    const text = (queue: string) => `cannot declare queue '${queue}': queue limit in vhost '/' (1) is reached`;
    let owner: AmqpPeer;
    beforeAll(async () => {
      owner = await AmqpPeer.openChannel(server().port('amqp'));
      await owner.declare('only', { exclusive: true });
    });
    afterAll(async () => {
      await owner.declare('only', { exclusive: true });
      owner.destroy();
    });

    test('AMQP: 406 precondition-failed', async () => {
      const peer = await AmqpPeer.openChannel(server().port('amqp'));
      peer.send(1, methods.queueDeclare, { queue: 'more' });
      expect(await peer.closed()).toMatchObject({ code: 406, text: `PRECONDITION_FAILED - ${text('more')}` });
      peer.destroy();
    });

    test('MQTT: SUBACK 0x83, in 3.1.1 0x80', async () => {
      for (const [version, code] of [
        [5, 0x83],
        [4, 0x80],
      ] as const) {
        const { peer } = await MqttPeer.connect(server(), {}, version);
        expect((await peer.subscribe('a/b', { qos: 1 })).granted).toEqual([code]);
        await peer.nothing();
        peer.destroy();
      }
    });

    test('STOMP: ERROR', async () => {
      const [wire] = await stompAnswer(server());
      wire.send('SUBSCRIBE\nid:1\ndestination:/queue/more\n\n\0');
      const { command, body } = await wire.next();
      expect([command, body.toString()]).toEqual(['ERROR', expect.stringContaining(text('more'))]);
      await wire.closed();
    });
  });
});

describe('the time to log in', () => {
  withLimits(limit({ loginTimeoutMs: 50 }), (server) => {
    test.each([
      ['AMQP, nothing', 'amqp', ''],
      ['AMQP, half a header', 'amqp', 'AMQP'],
      ['AMQP, no start-ok', 'amqp', 'AMQP\0\0\x09\x01'],
      ['MQTT, nothing', 'mqtt', ''],
      ['MQTT, half a CONNECT', 'mqtt', '\x10\x20\0'],
      ['STOMP, nothing', 'stomp', ''],
      ['STOMP, half a CONNECT', 'stomp', 'CONNECT\naccept-'],
      ['MQTT over WebSocket, nothing behind the upgrade', 'mqttWs', upgrade],
    ])('%s: cut', async (_what, listener, octets) => {
      const peer = await RawPeer.connect(server().port(listener));
      peer.write(Buffer.from(octets, 'latin1'));
      await peer.untilEnd();
    });
  });

  // long enough for a log-in on a machine that is busy
  withLimits(limit({ loginTimeoutMs: 1000 }), (server) => {
    test('who has logged in stays', async () => {
      const { peer } = await MqttPeer.connect(server());
      const late = await RawPeer.connect(server().port('mqtt'));
      await late.untilEnd(); // more time has passed than there is for a log-in
      await peer.nothing();
      peer.destroy();
    });
  });
});

describe('channels and frames', () => {
  withLimits(
    (config) => ({ ...config, amqp: { ...config.amqp, channelMax: 2, frameSizeMax: 8192 } }),
    (server) => {
      test('one channel more than agreed: 530 not-allowed closes the connection', async () => {
        const peer = await AmqpPeer.openChannel(server().port('amqp'));
        await peer.call(2, methods.channelOpen, {}, methods.channelOpenOk);
        peer.send(3, methods.channelOpen);
        expect(await peer.connectionClosed()).toMatchObject({
          code: 530,
          text: 'NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)',
        });
      });

      test('a frame of frame_max is taken, one octet more is 501 frame-error', async () => {
        const peer = await AmqpPeer.openChannel(server().port('amqp'));
        const queue = await peer.declare('', { exclusive: true });
        peer.write(contentFrames(1, { exchange: '', routingKey: queue }, Buffer.alloc(8192 - 8, 'x')));
        expect((await peer.get(queue))?.body.length).toBe(8192 - 8);
        peer.write(frame(3, 1, Buffer.alloc(8192 - 7)));
        const args = await peer.expect(0, methods.connectionClose);
        expect(args.number('replyCode')).toBe(501);
        await peer.end();
      });
    },
  );
});

describe('headers of STOMP', () => {
  withLimits(
    (config) => ({ ...config, stomp: { ...config.stomp, headerCountMax: 10, headerBytesMax: 200 } }),
    (server) => {
      const lines = (count: number) => Array.from({ length: count }, (_, i) => `h${i}:v\n`).join('');

      test('as many as may be are taken, and as long', async () => {
        const [wire] = await stompAnswer(server());
        await wire.confirm(`SEND\ndestination:/topic/a\n${lines(8)}\nbody\0`);
        await wire.confirm(`SEND\ndestination:/topic/a\nlong:${'x'.repeat(190)}\n\nbody\0`);
        wire.destroy();
      });

      test.each([
        ['one more', lines(10)],
        ['one longer', `long:${'x'.repeat(200)}\n`],
      ])('%s: ERROR', async (_what, headers) => {
        const [wire] = await stompAnswer(server());
        wire.send(`SEND\ndestination:/topic/a\n${headers}\nbody\0`);
        expect((await wire.next()).command).toBe('ERROR');
        await wire.closed();
      });
    },
  );
});

describe('16 MiB of body', () => {
  withLimits(
    (config) => config,
    (server) => {
      const body = Buffer.alloc(bodyMax, 'x');

      test('AMQP: taken; one octet more is 406 by its header alone', async () => {
        const peer = await AmqpPeer.openChannel(server().port('amqp'));
        await peer.call(1, methods.confirmSelect, {}, methods.confirmSelectOk);
        const [method, ...rest] = [contentFrames(1, { exchange: 'amq.fanout' }, Buffer.alloc(0)), body];
        const methodOnly = method.subarray(0, method.readUInt32BE(3) + 8);
        peer.write(methodOnly);
        peer.write(headerFrame(1, bodyMax));
        const part = 131_072 - 8;
        for (let at = 0; at < bodyMax; at += part) peer.write(frame(3, 1, rest[0]!.subarray(at, at + part)));
        await peer.expect(1, methods.basicAck);
        peer.write(methodOnly);
        peer.write(headerFrame(1, bodyMax + 1));
        expect(await peer.closed()).toMatchObject({
          code: 406,
          text: `PRECONDITION_FAILED - message size ${bodyMax + 1} is larger than configured max size ${bodyMax}`,
        });
        await peer.call(1, methods.channelOpen, {}, methods.channelOpenOk);
        peer.destroy();
      });

      test('MQTT: taken; one octet more is refused, and so is a packet of more than 128 KiB beside it', async () => {
        const { peer, connack } = await MqttPeer.connect(server());
        expect(connack.properties.maximumPacketSize).toBe(packetMax);
        peer.publish('a', body, { qos: 1, messageId: 1 });
        expect((await peer.nextOf('puback')).messageId).toBe(1);
        peer.publish('a', Buffer.alloc(bodyMax + 1), { qos: 1, messageId: 2 });
        expect((await peer.end()).at(-1)).toMatchObject({ cmd: 'disconnect', reasonCode: 0x95 });

        const stranger = await MqttPeer.open(server());
        stranger.raw('10 80 80 20'); // half a MiB: nobody has logged in
        expect(await stranger.end()).not.toContainEqual(expect.objectContaining({ returnCode: 0 }));

        const head = await MqttPeer.connect(server());
        const length = packetMax + 1 - 5;
        const octets = [
          0x30,
          (length & 127) | 128,
          ((length >> 7) & 127) | 128,
          ((length >> 14) & 127) | 128,
          length >> 21,
        ];
        head.peer.raw(Buffer.from(octets));
        expect(await head.peer.end()).toEqual([expect.objectContaining({ cmd: 'disconnect', reasonCode: 0x95 })]);
      });

      test('STOMP: taken; one octet more is an ERROR by its content-length alone', async () => {
        const [wire] = await stompAnswer(server());
        const head = (bytes: number) => `SEND\ndestination:/topic/a\nreceipt:r\ncontent-length:${bytes}\n\n`;
        wire.send(Buffer.concat([Buffer.from(head(bodyMax)), body, Buffer.alloc(1)]));
        expect((await wire.next()).command).toBe('RECEIPT');
        wire.send(head(bodyMax + 1));
        expect((await wire.next()).command).toBe('ERROR');
        await wire.closed();
      });
    },
  );
});

describe('[RabbitMQ: per-user limits] max-channels', () => {
  withLimits(
    (config) => config,
    (server) => {
      test('AMQP 1.0: a session too many closes the connection, as a channel too many does', async () => {
        server().users.setLimit('anna', 'max-channels', 1);
        const peer = await Amqp10Peer.openSession(server().port('amqp'), { user: 'anna', password: 'pw' });
        peer.send('begin', { nextOutgoingId: 0, incomingWindow: 1, outgoingWindow: 1 }, 1);
        expect(await peer.expect('close')).toMatchObject({
          error: {
            condition: 'amqp:not-allowed',
            description: expect.stringContaining("number of channels opened for user 'anna'"),
          },
        });
        peer.destroy();
      });
    },
  );
});
