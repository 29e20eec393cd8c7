import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { encodeFrame, encodeSaslFrame, protocolHeaders } from '../../../src/protocols/amqp10/frame.ts';
import { textOf } from '../../../src/protocols/amqp10/types.ts';
import { AmqpPeer } from '../../support/amqp-peer.ts';
import { Amqp10Peer, data, toTarget } from '../../support/amqp10-peer.ts';
import { BrokerProcess } from '../../support/broker-process.ts';
import { ScramClient } from '../../support/scram-client.ts';

let broker: BrokerProcess;
let port: number;
beforeAll(async () => {
  broker = await BrokerProcess.start({ args: ['--set', 'amqp.channelMax=4', '--set', 'amqp.heartbeatSeconds=1'] });
  port = broker.port('amqp');
});
afterAll(() => broker?.remove());

describe('the protocol header', () => {
  test.each([
    ['AMQP over TLS', 'AMQP\x02\x01\x00\x00'],
    ['an id that nobody knows', 'AMQP\x07\x01\x00\x00'],
    ['AMQP without SASL, where nobody is anonymous', 'AMQP\x00\x01\x00\x00'],
  ])(
    '[1.0 §2.2-1] [1.0 §2.2-2] %s is answered with the one that is spoken, and the connection closed',
    async (_name, header) => {
      const peer = await Amqp10Peer.connect(port);
      peer.write(Buffer.from(header, 'latin1'));
      expect(await peer.end()).toEqual(protocolHeaders.sasl);
    },
  );

  test('0-9-1 is spoken on the same port', async () => {
    const peer = await AmqpPeer.openChannel(port);
    expect(await peer.declare('detect-091')).toBe('detect-091');
    peer.destroy();
  });

  test('octet by octet it is recognised as well', async () => {
    const peer = await Amqp10Peer.connect(port);
    for (const octet of protocolHeaders.sasl) {
      peer.write(Buffer.from([octet]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await peer.expectHeader(protocolHeaders.sasl);
    expect((await peer.expect('saslMechanisms')).mechanisms).toEqual(['PLAIN']);
    peer.destroy();
  });
});

describe('SASL', () => {
  async function init(mechanism: string, response: string): Promise<Amqp10Peer> {
    const peer = await Amqp10Peer.connect(port);
    peer.write(protocolHeaders.sasl);
    await peer.expectHeader(protocolHeaders.sasl);
    await peer.expect('saslMechanisms');
    peer.write(encodeSaslFrame('saslInit', { mechanism, initialResponse: Buffer.from(response) }));
    return peer;
  }

  test('[1.0 §5.3.3-2] [1.0 §5.3.2-1] PLAIN with the right password: outcome 0', async () => {
    const peer = await init('PLAIN', '\0guest\0guest');
    expect((await peer.expect('saslOutcome')).code).toBe(0);
    peer.destroy();
  });

  test.each([
    ['a wrong password', 'PLAIN', '\0guest\0wrong'],
    ['a response without NUL', 'PLAIN', 'guest'],
    ['ANONYMOUS where it is not offered', 'ANONYMOUS', ''],
    ['a mechanism that is not there', 'GSSAPI', ''],
  ])('[1.0 §5.3.3-1] %s: outcome 1, and the connection is closed', async (_name, mechanism, response) => {
    const peer = await init(mechanism, response);
    expect((await peer.expect('saslOutcome')).code).toBe(1);
    await peer.end();
  });

  test('SCRAM-SHA-256 for who asks for it: the server proves itself too', async () => {
    const scram = new ScramClient('guest', 'guest');
    const peer = await init('SCRAM-SHA-256', scram.first.toString());
    const { challenge } = await peer.expect('saslChallenge');
    peer.write(encodeSaslFrame('saslResponse', { response: scram.final(challenge) }));
    const outcome = await peer.expect('saslOutcome');
    expect(outcome.code).toBe(0);
    expect(outcome.additionalData?.toString()).toBe(scram.serverFinal);
    await peer.sendOpen();
    peer.destroy();
  });

  test('SCRAM-SHA-256 with a wrong password: outcome 1', async () => {
    const scram = new ScramClient('guest', 'wrong');
    const peer = await init('SCRAM-SHA-256', scram.first.toString());
    const { challenge } = await peer.expect('saslChallenge');
    peer.write(encodeSaslFrame('saslResponse', { response: scram.final(challenge) }));
    expect((await peer.expect('saslOutcome')).code).toBe(1);
    await peer.end();
  });

  test('[1.0 §5.3.1-1] a frame of AMQP instead of one of SASL ends the connection', async () => {
    const peer = await Amqp10Peer.connect(port);
    peer.write(protocolHeaders.sasl);
    await peer.expectHeader(protocolHeaders.sasl);
    await peer.expect('saslMechanisms');
    peer.send('open', { containerId: 'too early' });
    await peer.end();
  });
});

describe('open', () => {
  test('[1.0 §2.4.1-1] says who the broker is, what it takes and what it can', async () => {
    const peer = await Amqp10Peer.connect(port);
    await peer.login();
    const open = await peer.sendOpen();
    expect(open).toMatchObject({
      containerId: 'rosettamq',
      maxFrameSize: 131_072,
      channelMax: 3,
      idleTimeout: 1000,
      offeredCapabilities: expect.arrayContaining(['ANONYMOUS-RELAY', 'SHARED-SUBS', 'DELAYED_DELIVERY']),
    });
    expect(textOf(open.properties?.get('product'))).toBe('RosettaMQ');
    peer.destroy();
  });

  test('[RabbitMQ: AMQP 1.0 client libraries] they find a node, and a version that they can do with', async () => {
    const peer = await Amqp10Peer.connect(port);
    await peer.login();
    const { properties } = await peer.sendOpen();
    // text all of it: the library for .NET casts each value
    for (const [, value] of properties?.pairs ?? []) expect(typeof value).toBe('string');
    expect(textOf(properties?.get('version'))).toBe('4.2.0');
    expect(textOf(properties?.get('node'))).toBe('rosettamq');
    peer.destroy();
  });

  test('amqp10.product: what the broker says that it is', async () => {
    const named = await BrokerProcess.start({ args: ['--set', 'amqp10.product=RabbitMQ'] });
    const peer = await Amqp10Peer.connect(named.port('amqp'));
    await peer.login();
    expect(textOf((await peer.sendOpen()).properties?.get('product'))).toBe('RabbitMQ');
    peer.destroy();
    await named.remove();
  });

  test('the hostname names the virtual host', async () => {
    const peer = await Amqp10Peer.open(port, { hostname: 'vhost:nowhere' });
    expect((await peer.expect('close')).error).toMatchObject({
      condition: 'amqp:not-found',
      description: "vhost 'nowhere' not found",
    });
    const here = await Amqp10Peer.openSession(port, { hostname: 'vhost:/' });
    const anywhere = await Amqp10Peer.openSession(port, { hostname: 'broker.example.org' });
    here.destroy();
    anywhere.destroy();
  });

  test('[1.0 §2.7.1-1] a max-frame-size below 512 is refused', async () => {
    const peer = await Amqp10Peer.open(port, { maxFrameSize: 511 });
    expect((await peer.expect('close')).error?.condition).toBe('amqp:frame-size-too-small');
  });

  test('[1.0 §2.4.5-3] an idle time-out that is too short to keep is refused', async () => {
    const peer = await Amqp10Peer.connect(port);
    await peer.login();
    await peer.sendOpen({ idleTimeout: 999 });
    expect((await peer.expect('close')).error).toMatchObject({
      condition: 'amqp:not-allowed',
      description: 'idle-time-out (999 ms) < minimum idle-time-out (1000 ms)',
    });
    peer.destroy();
  });

  test('[1.0 §2.4.5-1] the peer’s idle time-out is kept with empty frames', async () => {
    const peer = await Amqp10Peer.open(port, { idleTimeout: 2000 });
    peer.write(Buffer.from([0, 0, 0, 8, 2, 0, 0, 0]));
    const [chunk] = (await once(peer)) as [Buffer];
    expect(chunk.toString('hex')).toBe('0000000802000000');
    peer.destroy();
  });

  test('[1.0 §2.4.5-2] a peer that says nothing for twice the idle time-out is told, and dropped', async () => {
    const peer = await Amqp10Peer.open(port);
    expect((await peer.expect('close')).error).toMatchObject({ condition: 'amqp:resource-limit-exceeded' });
    await peer.end();
  });

  test('a container that wants to be alone is refused while it is there already', async () => {
    const desiredCapabilities = ['sole-connection-for-container'];
    const first = await Amqp10Peer.open(port, { containerId: 'sole', desiredCapabilities });
    const second = await Amqp10Peer.open(port, { containerId: 'sole', desiredCapabilities });
    const { error } = await second.expect('close');
    expect(error?.condition).toBe('amqp:invalid-field');
    expect(textOf(error?.info?.get('invalid-field'))).toBe('container-id');
    first.destroy();
  });
});

describe('[1.0 §2.4.3-2] errors of the connection close it', () => {
  test.each([
    ['a frame larger than agreed', Buffer.from('00100000020000ff', 'hex'), 'amqp:connection:framing-error'],
    [
      'a data offset before the frame’s body',
      Buffer.from('0000000c0100000000000000', 'hex'),
      'amqp:connection:framing-error',
    ],
    ['a data offset behind the frame', Buffer.from('0000000c0900000000000000', 'hex'), 'amqp:connection:framing-error'],
    ['octets that are no performative', Buffer.from('0000000c0200000001020304', 'hex'), 'amqp:decode-error'],
    [
      'a performative on a channel without a session',
      Buffer.from('0000000e02000001005317c00100', 'hex'),
      'amqp:connection:framing-error',
    ],
  ])('[1.0 §2.3-2] [1.0 §2.8.15-1] [1.0 §2.7.9-1] %s', async (_name, octets, condition) => {
    const peer = await Amqp10Peer.open(port);
    peer.write(octets);
    expect((await peer.expect('close')).error?.condition).toBe(condition);
    peer.destroy();
  });

  test('[1.0 §2.7.1-2] a session above channel-max', async () => {
    const peer = await Amqp10Peer.open(port);
    peer.send('begin', { nextOutgoingId: 0, incomingWindow: 1, outgoingWindow: 1 }, 4);
    expect((await peer.expect('close')).error?.condition).toBe('amqp:connection:framing-error');
  });

  test('one connection’s fault is nobody else’s', async () => {
    const other = await Amqp10Peer.openSession(port);
    const peer = await Amqp10Peer.open(port);
    peer.write(Buffer.alloc(64, 0xff));
    await peer.expect('close');
    await other.sender(0, 'unharmed');
    expect(await other.publish(0, data('x'))).toEqual({ is: 'accepted' });
    other.destroy();
  });
});

describe('frames', () => {
  const begin = { nextOutgoingId: 0, incomingWindow: 10, outgoingWindow: 10 };

  test('[1.0 §2.3-1] a header that is longer than the eight octets is passed over', async () => {
    const peer = await Amqp10Peer.open(port);
    const plain = encodeFrame(3, 'begin', begin);
    const extended = Buffer.concat([plain.subarray(0, 8), Buffer.from('whatever'), plain.subarray(8)]);
    extended.writeUInt32BE(extended.length, 0);
    extended[4] = 4;
    peer.write(extended);
    expect((await peer.expect('begin')).remoteChannel).toBe(3);
    peer.destroy();
  });

  test('[1.0 §2.4.2-1] all that a client has to say may come in one write', async () => {
    const peer = await Amqp10Peer.connect(port);
    const initialResponse = Buffer.from('\0guest\0guest');
    peer.write(
      Buffer.concat([
        protocolHeaders.sasl,
        encodeSaslFrame('saslInit', { mechanism: 'PLAIN', initialResponse }),
        protocolHeaders.amqp,
        encodeFrame(0, 'open', { containerId: 'hasty' }),
        encodeFrame(0, 'begin', begin),
        encodeFrame(0, 'attach', {
          name: 's',
          handle: 0,
          role: false,
          target: toTarget('hasty'),
          initialDeliveryCount: 0,
        }),
        encodeFrame(0, 'transfer', { handle: 0, deliveryId: 0, deliveryTag: Buffer.from('t') }, data('x')),
        encodeFrame(0, 'close', {}),
      ]),
    );
    await peer.expectHeader(protocolHeaders.sasl);
    await peer.expect('saslMechanisms');
    await peer.expect('saslOutcome');
    await peer.expectHeader(protocolHeaders.amqp);
    await peer.expect('open');
    const rest: string[] = [];
    for (let name = ''; name !== 'close'; rest.push(name)) name = (await peer.next()).performative.is;
    expect(rest).toEqual(['begin', 'attach', 'disposition', 'flow', 'close']);
    await peer.end();
  });

  test('[1.0 §2.5.1-2] a channel whose session has ended is another’s', async () => {
    const peer = await Amqp10Peer.openSession(port);
    for (let i = 0; i < 3; i++) {
      await peer.sender(0, 'sessions');
      peer.send('end', {});
      await peer.expect('end');
      await peer.begin();
    }
    peer.destroy();
  });

  test('[1.0 §2.7.2-1] a handle above handle-max closes the connection', async () => {
    const peer = await Amqp10Peer.open(port);
    const { handleMax } = await peer.begin();
    peer.send('attach', { name: 's', handle: handleMax! + 1, role: false, target: toTarget('handles') });
    expect((await peer.expect('close')).error?.condition).toBe('amqp:connection:framing-error');
    peer.destroy();
  });
});

describe('close and end', () => {
  test('[1.0 §2.4.3-1] [1.0 §2.5.4-1] are answered', async () => {
    const peer = await Amqp10Peer.open(port);
    await peer.begin(2);
    peer.send('end', {}, 2);
    expect((await peer.next()).channel).toBe(2);
    await peer.begin(2);
    peer.send('close', {});
    await peer.expect('close');
    expect(await peer.end()).toHaveLength(0);
  });

  test('[1.0 §2.5.5-1] a session that ended with an error discards what comes until its end is answered', async () => {
    const peer = await Amqp10Peer.openSession(port);
    peer.send('detach', { handle: 9 });
    expect((await peer.expect('end')).error?.condition).toBe('amqp:session:unattached-handle');
    peer.send('attach', { name: 'late', handle: 0, role: false });
    peer.send('end', {});
    await peer.begin();
    peer.destroy();
  });
});

function once(peer: Amqp10Peer): Promise<unknown[]> {
  return new Promise((resolve) => peer.socket.once('data', (...args: unknown[]) => resolve(args)));
}
