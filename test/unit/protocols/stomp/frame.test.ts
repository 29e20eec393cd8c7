import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type FrameLimits, FrameReader, ProtocolError } from '../../../../src/protocols/stomp/frame.ts';
import { escapeName, escapeText, type Version, versions } from '../../../../src/protocols/stomp/versions.ts';
import { type ParsedFrame, parseWithStompit, parseWithStompjs } from '../../../support/stomp-parsers.ts';

const limits: FrameLimits = { bodyBytes: 4096, headerCount: 100, headerBytes: 512 };

interface Seen {
  readonly command: string;
  readonly lines: readonly (readonly [name: string, value: string])[];
  readonly body: string;
}

/** Reads pieces as a connection does: what is cut comes again, elsewhere, with more behind it. */
function read(pieces: readonly Buffer[], version: Version = '1.2'): Seen[] {
  const reader = new FrameReader(limits);
  const seen: Seen[] = [];
  let rest: Buffer = Buffer.alloc(0);
  for (const piece of pieces) {
    const before = Buffer.alloc(seen.length % 3, 0x7a);
    const chunk = Buffer.concat([before, rest, piece]);
    let at = before.length;
    for (;;) {
      while (chunk[at] === 0x0a || chunk[at] === 0x0d) at += 1;
      if (at === chunk.length || !reader.read(chunk, at, chunk.length)) break;
      const lines = Array.from(
        { length: reader.count },
        (_, i) => [reader.name(i, version), reader.value(i, version)] as const,
      );
      seen.push({
        command: reader.command,
        lines,
        body: chunk.toString('latin1', reader.bodyStart, reader.bodyEnd),
      });
      at = reader.next;
    }
    rest = Buffer.from(chunk.subarray(at));
  }
  return seen;
}

function fault(detail: string): unknown {
  return expect.objectContaining({ message: 'Malformed frame', detail });
}

/** Whole, byte by byte, and cut at each offset. */
function everyWay(octets: Buffer): Buffer[][] {
  const ways: Buffer[][] = [[octets], Array.from(octets, (octet) => Buffer.from([octet]))];
  for (let i = 1; i < octets.length; i++) ways.push([octets.subarray(0, i), octets.subarray(i)]);
  return ways;
}

describe('a frame is the same whole, byte by byte, and cut at each offset', () => {
  const send = (lines: [string, string][], body: string): Seen => ({ command: 'SEND', lines, body });
  test.each<[title: string, octets: string, seen: Seen[]]>([
    ['no headers, no body', 'SEND\n\n\0', [send([], '')]],
    ['a body up to its NUL', 'SEND\na:b\n\nbody\0', [send([['a', 'b']], 'body')]],
    ['a counted body with NULs', 'SEND\ncontent-length:4\n\n\0a\n\0\0', [send([['content-length', '4']], '\0a\n\0')]],
    ['a counted body of nothing', 'SEND\ncontent-length:0\n\n\0', [send([['content-length', '0']], '')]],
    ['spaces around the count', 'SEND\ncontent-length: 2 \n\nab\0', [send([['content-length', ' 2 ']], 'ab')]],
    [
      'the first of two counts',
      'SEND\ncontent-length:1\ncontent-length:9\n\na\0',
      [
        send(
          [
            ['content-length', '1'],
            ['content-length', '9'],
          ],
          'a',
        ),
      ],
    ],
    ['CR LF', 'SEND\r\na:b\r\nc:d\r\n\r\nbody\r\n\0', [send([['a', 'b'], ['c', 'd']], 'body\r\n')]], // biome-ignore format: a row
    ['a CR that ends no line', 'SEND\na:b\rc\n\n\0', [send([['a', 'b\rc']], '')]],
    ['colons in a value', 'SEND\na:b:c::\n\n\0', [send([['a', 'b:c::']], '')]],
    ['an empty value, and white space', 'SEND\na:\nb: x \n\n\0', [send([['a', ''], ['b', ' x ']], '')]], // biome-ignore format: a row
    ['escapes in names and values', 'SEND\na\\cb:\\n\\r\\\\\n\n\0', [send([['a:b', '\n\r\\']], '')]],
    ['repeats, in their order', 'SEND\na:1\nb:2\na:3\n\n\0', [send([['a', '1'], ['b', '2'], ['a', '3']], '')]], // biome-ignore format: a row
    ['UTF-8', 'SEND\nß:€𝄞\n\n\0', [send([['ß', '€𝄞']], '')]],
    [
      'EOLs between frames, and several frames',
      '\n\r\nSEND\n\n1\0\n\r\n\nBEGIN\ntransaction:t\n\n\0SEND\n\n2\0',
      [send([], '1'), { command: 'BEGIN', lines: [['transaction', 't']], body: '' }, send([], '2')],
    ],
  ])('%s', (_, text, seen) => {
    for (const pieces of everyWay(Buffer.from(text))) expect(read(pieces)).toEqual(seen);
  });

  test.each([
    ['a command in lower case', 'send\n\n\0'],
    ['a command of 17 letters', `${'S'.repeat(17)}\n\n\0`],
    ['a space behind the command', 'SEND \n\n\0'],
    ['a letter behind CR', 'SE\rND\n\n\0'],
    ['octets that are no text', '\u0016\u0003\u0001'],
    ['a header without colon', 'SEND\nabc\n\n\0'],
    ['a header without name', 'SEND\n:abc\n\n\0'],
    ['NUL among the headers', 'SEND\na:b\0'],
    ['NUL in place of a counted body', 'SEND\ncontent-length:1\n\0a\0'],
    ['a count that is no number', 'SEND\ncontent-length:1x\n\na\0'],
    ['a count below zero', 'SEND\ncontent-length:-1\n\na\0'],
    ['an empty count', 'SEND\ncontent-length:\n\na\0'],
    ['no NUL behind the counted body', 'SEND\ncontent-length:1\n\nab\0'],
    ['an escape that 1.2 does not know', 'SEND\na:\\t\n\n\0'],
    ['an escape of nothing', 'SEND\na:\\\n\n\0'],
  ])('%s is an error', (_, text) => {
    for (const pieces of everyWay(Buffer.from(text, 'latin1'))) expect(() => read(pieces)).toThrow(ProtocolError);
  });

  test('NUL in place of the empty line ends a frame without body', () => {
    for (const pieces of everyWay(Buffer.from('DISCONNECT\nreceipt:77\n\0', 'latin1'))) {
      expect(read(pieces)).toEqual([{ command: 'DISCONNECT', lines: [['receipt', '77']], body: '' }]);
    }
  });

  test('escapes: 1.1 knows no \\r, 1.0 none at all, nor spaces in front of a value', () => {
    const octets = [Buffer.from('SEND\na: x\\n\\\\\\q\n\n\0')];
    expect(read(octets, '1.0')[0]?.lines).toEqual([['a', 'x\\n\\\\\\q']]);
    expect(() => read(octets, '1.1')).toThrow(fault("undefined escape sequence '\\q'"));
    expect(() => read([Buffer.from('SEND\na:\\r\n\n\0')], '1.1')).toThrow(fault("undefined escape sequence '\\r'"));
  });
});

test('numbers and truth are read from the octets', () => {
  const reader = new FrameReader(limits);
  const values = [
    '0',
    '42',
    '999999999999999',
    '1234567890123456',
    '-1',
    '1x',
    '',
    ' 7',
    'true',
    'True',
    'TRUE',
    'trues',
  ];
  const chunk = Buffer.from(`SEND\n${values.map((value) => `a:${value}\n`).join('')}\n\0`);
  expect(reader.read(chunk, 0, chunk.length)).toBe(true);
  const numbers = values.map((_, i) => reader.integer(i, '1.2'));
  expect(numbers).toEqual([0, 42, 999_999_999_999_999, -1, -1, -1, -1, -1, -1, -1, -1, -1]);
  expect(reader.integer(7, '1.0')).toBe(7);
  expect(values.filter((_, i) => reader.isTrue(i, '1.2'))).toEqual(['true', 'True']);
});

describe('limits hold before memory is taken', () => {
  const cut = (octets: string): FrameReader => {
    const reader = new FrameReader(limits);
    const chunk = Buffer.from(octets);
    expect(reader.read(chunk, 0, chunk.length)).toBe(false);
    return reader;
  };

  test('a body is refused by its announcement, one without it as soon as it is too long', () => {
    expect(() => cut('SEND\ncontent-length:4097\n')).toThrow('Message too large');
    expect(() => cut('SEND\ncontent-length:9999999999999999999999\n')).toThrow('Malformed frame');
    expect(() => cut(`SEND\n\n${'x'.repeat(4097)}`)).toThrow('Message too large');
    cut('SEND\ncontent-length:4096\n\n');
    cut(`SEND\n\n${'x'.repeat(4096)}`);
  });

  test('frames other than SEND have no body to speak of', () => {
    expect(() => cut(`BEGIN\n\n${'x'.repeat(513)}`)).toThrow('Message too large');
  });

  test('a header line, whether it has ended or not', () => {
    expect(() => cut(`SEND\na:${'x'.repeat(512)}`)).toThrow(fault('header line of more than 512 octets'));
    cut(`SEND\na:${'x'.repeat(510)}\n`);
  });

  test('all header lines together', () => {
    const line = `a:${'x'.repeat(500)}\n`;
    cut(`SEND\n${line.repeat(4)}`);
    expect(() => cut(`SEND\n${line.repeat(5)}`)).toThrow(fault('headers of more than 2048 octets'));
  });

  test('the count of headers', () => {
    cut(`SEND\n${'a:1\n'.repeat(100)}`);
    expect(() => cut(`SEND\n${'a:1\n'.repeat(101)}`)).toThrow(fault('more than 100 headers'));
  });

  test('a cut frame says what it needs when it knows', () => {
    expect(cut('SEND\ncontent-length:100\n\nabc').want).toBe('SEND\ncontent-length:100\n\n'.length + 101);
    expect(cut('SEND\na:b').want).toBe(0);
    expect(cut('SEND\n\nabc').want).toBe(0);
  });
});

/** A frame as octets, and what any parser should see of it. */
const frame = fc
  .record({
    version: fc.constantFrom(...versions),
    command: fc.constantFrom('SEND', 'SUBSCRIBE', 'ACK'),
    headers: fc.uniqueArray(fc.tuple(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 }), fc.string({ unit: 'grapheme', maxLength: 8 })), { maxLength: 6, selector: ([name]) => name }), // biome-ignore format: one piece
    body: fc.uint8Array({ maxLength: 40 }).map((octets) => Buffer.from(octets)),
    counted: fc.boolean(),
  })
  .filter(({ headers, version }) => headers.every(([name, value]) => isPlain(name + value, version)))
  .map(({ version, command, headers, body, counted }) => {
    const text = counted ? body : body.subarray(0, body.includes(0) ? body.indexOf(0) : body.length);
    const all: [string, string][] = counted ? [...headers, ['content-length', String(text.length)]] : headers;
    const lines = all.map(([name, value]) => `${escapeName(name, version)}:${escapeText(value, version)}\n`).join('');
    const octets = Buffer.concat([Buffer.from(`${command}\n${lines}\n`), text, Buffer.from('\0')]);
    return { version, octets, expected: { command, headers: Object.fromEntries(all), body: text } };
  });

// Where the parsers of the clients are wrong: @stomp/stompjs trims values and names, drops every CR, and leaves escapes
// in names as they are; stompit loses `__proto__`. What a version cannot spell is nobody's to read.
function isPlain(text: string, version: Version): boolean {
  if (text !== text.trim() || /[\r\0\s]|__proto__|content-length|hasOwn/.test(text)) return false;
  return version === '1.0' ? !/[:\n]/.test(text) : true;
}

function seenBy(octets: Buffer, version: Version): ParsedFrame {
  const [seen] = read([octets], version);
  return {
    command: seen!.command,
    headers: Object.fromEntries([...seen!.lines].toReversed()),
    body: Buffer.from(seen!.body, 'latin1'),
  };
}

describe('differential', () => {
  test('every frame comes back, and cut anywhere it is the same', () => {
    fc.assert(
      fc.property(frame, fc.nat(), ({ octets, version, expected }, at) => {
        const offset = at % octets.length;
        expect(seenBy(octets, version)).toEqual(expected);
        expect(read([octets.subarray(0, offset), octets.subarray(offset)], version)).toEqual(read([octets], version));
      }),
      { numRuns: 1000 },
    );
  });

  const repeated = fc.constantFrom(
    'SEND\na:b\n\n',
    'SEND\na:c\n\n',
    'SEND\na:b\nd:e\n\n',
    'SEND\r\na:b\r\n\r\n',
    'SEND\ncontent-length:2\n\n',
    'SEND\ncontent-length:3\n\n',
    'SEND\na\\c:\\n\n\n',
    'ACK\na:b\n\n',
    'DISCONNECT\na:b\n', // NUL in place of the empty line
    'SEND\n\n',
  );
  const row = fc.array(
    fc.tuple(repeated, fc.constantFrom('\0', 'x:\0', 'x:y\n\n\0', '\n\0'), fc.stringMatching(/^[\n\0]{0,3}$/)),
    {
      minLength: 2,
      maxLength: 8,
    },
  );

  test('heads that repeat are read as if they stood alone', () => {
    fc.assert(
      fc.property(row, fc.nat(), (parts, at) => {
        const frames = parts.map(([head, body, eols]) => {
          const length = /content-length:(\d)/.exec(head);
          if (head.startsWith('DISCONNECT')) return [`${head}\0`, eols.replaceAll('\0', '\n')] as const;
          return [
            head + (length === null ? body : `${'z'.repeat(Number(length[1]))}\0`),
            eols.replaceAll('\0', '\n'),
          ] as const;
        });
        const octets = Buffer.from(frames.flat().join(''), 'latin1');
        const offset = at % octets.length;
        const alone = frames.flatMap(([each]) => read([Buffer.from(each, 'latin1')]));
        expect(read([octets])).toEqual(alone);
        expect(read([octets.subarray(0, offset), octets.subarray(offset)])).toEqual(alone);
      }),
      { numRuns: 2000 },
    );
  });

  test('a head is said to repeat only when the frame before it has the same', () => {
    const reader = new FrameReader(limits);
    const octets = Buffer.from('SEND\na:b\n\n1\0\nSEND\na:b\n\n2\0SEND\na:c\n\n3\0SEND\na:c\n\n4\0', 'latin1');
    const seen: [boolean, string][] = [];
    for (let at = 0; at < octets.length; at = reader.next) {
      if (octets[at] === 0x0a) at += 1;
      expect(reader.read(octets, at, octets.length)).toBe(true);
      seen.push([reader.repeats, octets.toString('latin1', reader.bodyStart, reader.bodyEnd)]);
    }
    expect(seen).toEqual([
      [false, '1'],
      [true, '2'],
      [false, '3'],
      [true, '4'],
    ]);
  });

  test("stompit's parser sees the same", async () => {
    await fc.assert(
      fc.asyncProperty(frame, async ({ octets, version }) => {
        expect(await parseWithStompit(octets, version)).toEqual(seenBy(octets, version));
      }),
      { numRuns: 500 },
    );
  });

  test("@stomp/stompjs' parser sees the same, but for escapes in names", () => {
    fc.assert(
      fc.property(frame, ({ octets, version, expected }) => {
        if (version !== '1.0' && Object.keys(expected.headers).some((name) => /[\\:\n]/.test(name))) return;
        expect(parseWithStompjs(octets, version)).toEqual(seenBy(octets, version));
      }),
      { numRuns: 500 },
    );
  });

  test('of a name that repeats both clients see the first value, as ours', async () => {
    const octets = Buffer.from('MESSAGE\nfoo:World\nfoo:Hello\n\n\0');
    for (const { headers } of [
      seenBy(octets, '1.2'),
      await parseWithStompit(octets, '1.2'),
      parseWithStompjs(octets, '1.2'),
    ]) {
      expect(headers).toEqual({ foo: 'World' });
    }
  });
});
