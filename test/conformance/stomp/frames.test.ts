import { describe, expect, test } from 'vitest';
import { useStomp } from '../../support/stomp-suite.ts';
import type { StompWire } from '../../support/stomp-wire.ts';

const suite = useStomp();
const { open, login } = suite;

function queueName(): string {
  return `/queue/${suite.name()}`;
}

async function expectError(wire: StompWire, message: RegExp, receipt?: string): Promise<void> {
  const frame = await wire.next();
  expect(frame.command).toBe('ERROR');
  expect(frame.headers['message']).toMatch(message);
  expect(frame.headers['content-type']).toBe('text/plain');
  expect(frame.body.length).toBeGreaterThan(0);
  expect(frame.headers['receipt-id']).toBe(receipt);
  await wire.closed();
}

/** Sends a frame's headers and body, and returns the MESSAGE it becomes. */
async function echo(from: StompWire, to: StompWire, headers: string, body: string | Buffer = 'x') {
  const destination = queueName();
  await to.confirm(`SUBSCRIBE\nid:0\ndestination:${destination}\n\n\0`);
  from.send(`SEND\ndestination:${destination}\n${headers}\n`);
  from.send(body);
  from.send('\0');
  const frame = await to.next();
  expect(frame.command).toBe('MESSAGE');
  return frame;
}

describe('connecting', () => {
  for (const command of ['CONNECT', 'STOMP']) {
    test(`[STOMP 1.2 §CONNECT or STOMP Frame-1][STOMP 1.2 §CONNECTED Frame-1][STOMP 1.2 §CONNECTED Frame-2][STOMP 1.1 §CONNECT or STOMP Frame-1] ${command} is answered by CONNECTED with version, session, server and heart-beat`, async () => {
      const wire = await open();
      wire.send(`${command}\naccept-version:1.0,1.1,1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\0`);
      const frame = await wire.next();
      expect(frame.command).toBe('CONNECTED');
      expect(frame.headers['version']).toBe('1.2');
      expect(frame.headers['session']).toMatch(/^session-/);
      expect(frame.headers['server']).toMatch(/^RosettaMQ\//);
      expect(frame.headers['heart-beat']).toMatch(/^\d+,\d+$/);
    });
  }

  for (const [accepted, version] of [
    ['1.0', '1.0'],
    ['1.0,1.1', '1.1'],
    ['1.2, 1.1', '1.2'],
    ['1.1,9.9', '1.1'],
  ]) {
    test(`[STOMP 1.2 §Protocol Negotiation-2][STOMP 1.1 §CONNECTED Frame-1] accept-version ${accepted} becomes ${version}`, async () => {
      const wire = await open();
      wire.send(`CONNECT\naccept-version:${accepted}\nhost:/\nlogin:guest\npasscode:guest\n\n\0`);
      expect((await wire.next()).headers['version']).toBe(version);
    });
  }

  test('[STOMP 1.2 §Protocol Negotiation-1] no accept-version means 1.0', async () => {
    const wire = await open();
    wire.send('CONNECT\nlogin: guest\npasscode: guest\n\n\0');
    expect((await wire.next()).headers['version']).toBe('1.0');
  });

  test('[STOMP 1.2 §Protocol Negotiation-3][STOMP 1.1 §Protocol Negotiation-1] without a common version: ERROR with the versions spoken', async () => {
    const wire = await open();
    wire.send('CONNECT\naccept-version:2.0\nhost:/\nlogin:guest\npasscode:guest\n\n\0');
    const frame = await wire.next();
    expect(frame.command).toBe('ERROR');
    expect(frame.headers['version']).toBe('1.0,1.1,1.2');
    await wire.closed();
  });

  test('[STOMP 1.2 §Connecting-1] wrong credentials are refused, and say no more than that', async () => {
    const wire = await open();
    wire.send('CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:wrong\n\n\0');
    await expectError(wire, /^Bad CONNECT$/);
  });

  test('[STOMP 1.2 §CONNECT or STOMP Frame-2] a host that is no virtual host is the default one', async () => {
    const wire = await open();
    wire.send('CONNECT\naccept-version:1.2\nhost:stomp.example.com\nlogin:guest\npasscode:guest\n\n\0');
    expect((await wire.next()).command).toBe('CONNECTED');
  });

  test('[STOMP 1.2 §Heart-beating-1] a heart-beat that is no pair of numbers is an ERROR', async () => {
    const wire = await open();
    wire.send('CONNECT\naccept-version:1.2\nhost:/\nheart-beat:soon\nlogin:guest\npasscode:guest\n\n\0');
    await expectError(wire, /Invalid header/);
  });

  test('[STOMP 1.2 §Heart-beating] the server beats as often as the client wants', async () => {
    const wire = await login('1.2', { 'heart-beat': '0,1000' });
    await wire.heartBeat();
  });

  test('[STOMP 1.2 §CONNECT] frames before CONNECT are refused', async () => {
    const wire = await open();
    wire.send('SEND\ndestination:/queue/a\nreceipt:1\n\nx\0');
    await expectError(wire, /Illegal command/);
  });

  test('a second CONNECT is refused', async () => {
    const wire = await login();
    wire.send('CONNECT\naccept-version:1.2\nhost:/\n\n\0');
    await expectError(wire, /Illegal command/);
  });

  test('frames that follow CONNECT without waiting are taken in their order', async () => {
    const wire = await open();
    wire.send(
      'CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\0\nSEND\ndestination:/topic/n\nreceipt:7\n\nx\0',
    );
    expect((await wire.next()).command).toBe('CONNECTED');
    expect((await wire.next()).headers['receipt-id']).toBe('7');
  });

  test.each(['DISCONNECT\nreceipt:77\n\0', 'DISCONNECT\nreceipt:77\n\n\0', 'DISCONNECT\r\nreceipt:77\r\n\r\n\0'])(
    '[STOMP 1.2 §DISCONNECT] %j, as the specification itself writes it too',
    async (octets) => {
      const wire = await login();
      wire.send(octets);
      expect((await wire.next()).lines).toEqual(['receipt-id:77']);
      await wire.closed();
    },
  );

  test('[STOMP 1.2 §DISCONNECT-1] its receipt is the last word', async () => {
    const wire = await login();
    wire.send('SEND\ndestination:/queue/last-word\npersistent:true\nreceipt:1\n\nx\0DISCONNECT\nreceipt:77\n\n\0');
    expect((await wire.next()).headers['receipt-id']).toBe('1');
    expect((await wire.next()).headers['receipt-id']).toBe('77');
    await wire.closed();
  });
});

describe('frames and headers', () => {
  test('[STOMP 1.2 §STOMP Frames-1] lines may end with CR LF, and EOLs lie between frames', async () => {
    const wire = await open();
    wire.send('\r\n\nCONNECT\r\naccept-version:1.2\r\nhost:/\r\nlogin:guest\r\npasscode:guest\r\n\r\n\0\r\n\n');
    expect((await wire.next()).command).toBe('CONNECTED');
    const frame = await echo(wire, wire, 'a:1\r\nb:2\r\n');
    expect(frame.headers).toMatchObject({ a: '1', b: '2' });
  });

  test('a session cut at every octet is the same session', async () => {
    const destination = queueName();
    const octets = Buffer.from(
      `CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\0\n` +
        `SUBSCRIBE\nid:0\ndestination:${destination}\nreceipt:s\n\n\0` +
        `SEND\ndestination:${destination}\ncontent-length:3\nnote:\\c\n\n\0\n\0\0` +
        `SEND\ndestination:${destination}\n\nplain\0`,
    );
    const wire = await open();
    for (const octet of octets) {
      wire.send(Buffer.from([octet]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect((await wire.next()).command).toBe('CONNECTED');
    expect((await wire.next()).headers['receipt-id']).toBe('s');
    const first = await wire.next();
    expect(first.body).toEqual(Buffer.from('\0\n\0'));
    expect(first.headers['note']).toBe('\\c');
    expect((await wire.next()).body.toString()).toBe('plain');
  });

  test('[STOMP 1.2 §Header content-length-1][STOMP 1.2 §Header content-length-2] content-length counts a body with NULs', async () => {
    const wire = await login();
    const everyByte = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    const frame = await echo(wire, wire, 'content-length:256\n', everyByte);
    expect(frame.body).toEqual(everyByte);
    expect(frame.headers['content-length']).toBe('256');
  });

  test('[STOMP 1.2 §Body] without content-length the body ends at the first NUL, however long it is', async () => {
    const wire = await login();
    const body = 'é'.repeat(700_000);
    expect((await echo(wire, wire, '', body)).body.toString()).toBe(body);
  });

  test('[STOMP 1.2 §Repeated Header Entries-1] the first counts, and all are passed on in their order', async () => {
    const wire = await login();
    const frame = await echo(wire, wire, 'foo:World\nbar:1\nfoo:Hello\n');
    expect(frame.lines.filter((line) => /^(foo|bar):/.test(line))).toEqual(['foo:World', 'bar:1', 'foo:Hello']);
  });

  test('[STOMP 1.2 §Value Encoding-5][STOMP 1.1 §Value Encoding-2] white space around a value is part of it; 1.0 leaves what is in front', async () => {
    const wire = await login();
    expect((await echo(wire, wire, 'a:  padded  \n')).lines).toContain('a:  padded  ');
    const frame = await echo(await login('1.0'), await login(), 'b: padded \n');
    expect(frame.lines).toContain('b:padded ');
  });

  for (const [from, to, sent, seen] of [
    ['1.2', '1.2', 'k:a\\nb\\cc\\\\d\\re', 'k:a\\nb\\cc\\\\d\\re'],
    ['1.1', '1.2', 'k:a\\nb\\cc\\\\d', 'k:a\\nb\\cc\\\\d'],
    ['1.2', '1.1', 'k:a\\nb\\rc', 'k:a\\nbc'],
    ['1.0', '1.2', 'k:a\\nb:c', 'k:a\\\\nb\\cc'],
    ['1.2', '1.0', 'k:a\\\\n\\cb', 'k:a\\n:b'],
  ] as const) {
    test(`[STOMP 1.2 §Value Encoding-2][STOMP 1.2 §Value Encoding-4] ${from} → ${to}: ${sent} is shown as ${seen}`, async () => {
      const frame = await echo(await login(from), await login(to), `${sent}\nafter:1\n${sent}\n`);
      expect(frame.lines.filter((line) => /^(k|after):/.test(line))).toEqual([seen, 'after:1', seen]);
    });
  }

  for (const [version, header] of [
    ['1.1', 'k:a\\rb'],
    ['1.1', 'k:a\\tb'],
    ['1.2', 'k:a\\tb'],
    ['1.2', 'k:ends\\'],
  ] as const) {
    test(`[STOMP 1.2 §Value Encoding-3][STOMP 1.1 §Value Encoding-1] ${header} is an undefined escape: fatal`, async () => {
      const wire = await login(version);
      wire.send(`SEND\ndestination:/topic/x\n${header}\nreceipt:9\n\nx\0`);
      await expectError(wire, /Malformed frame/, '9');
    });
  }

  for (const [what, octets] of [
    ['an unknown command', 'PUBLISH\n\n\0'],
    ['a command in lower case', 'send\n\n\0'],
    ['a header without colon', 'SEND\ndestination\n\n\0'],
    ['a header without name', 'SEND\n:value\n\n\0'],
    ['a content-length that is no number', 'SEND\ndestination:/queue/a\ncontent-length:ten\n\nx\0'],
    ['no NUL behind the counted body', 'SEND\ndestination:/queue/a\ncontent-length:1\n\nxy\0'],
    ['a body beyond the limit, by its announcement alone', 'SEND\ndestination:/queue/a\ncontent-length:99999999\n\n'],
    ['a header line beyond the limit', `SEND\na:${'x'.repeat(70_000)}`],
    ['too many headers', `SEND\n${'a:1\n'.repeat(1001)}`],
    ['a NUL among the headers', 'SEND\ndestination:/queue/a\0'],
    ['no destination', 'SEND\n\nx\0'],
    ['a TLS hello', Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc])],
  ] as const) {
    test(`[STOMP 1.2 §Client Frames-1][STOMP 1.2 §Size Limits-1][STOMP 1.2 §SEND-1][STOMP 1.2 §ERROR-1][STOMP 1.2 §ERROR-2][STOMP 1.2 §Header content-type-1] ${what} is an ERROR, and the end of the connection`, async () => {
      const wire = await login();
      wire.send(octets);
      await expectError(wire, /^(Bad command|Malformed frame|Message too large|Missing destination)$/);
    });
  }

  test('what only the broker writes cannot be injected', async () => {
    const wire = await login();
    const frame = await echo(
      wire,
      wire,
      'message-id:evil\nsubscription:evil\nack:evil\nredelivered:true\nreceipt:evil\nkept:1\n',
    );
    expect(frame.lines.join('\n')).not.toContain('evil');
    expect(frame.headers).toMatchObject({ subscription: '0', redelivered: 'false', kept: '1' });
    expect(frame.lines.filter((line) => line.startsWith('message-id:'))).toHaveLength(1);
  });

  test('[STOMP 1.2 §ERROR-3] it carries the receipt-id of the frame that failed', async () => {
    const wire = await login();
    wire.send('SUBSCRIBE\nid:0\ndestination:/nowhere/a\nreceipt:message-12345\n\n\0');
    await expectError(wire, /Unknown destination/, 'message-12345');
  });
});
