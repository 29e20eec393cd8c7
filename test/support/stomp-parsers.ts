import { once } from 'node:events';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { pathToFileURL } from 'node:url';

/** A frame as a client's parser sees it: of a name that repeats the first value, unescaped. */
export interface ParsedFrame {
  readonly command: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

// The parsers of the two clients, which their packages do not export: loaded by their paths.
const require = createRequire(import.meta.url);
const stompitLib = dirname(require.resolve('stompit'));
const stompjsLib = join(dirname(require.resolve('@stomp/stompjs')), '..', 'esm6');

interface StompitFrame extends Readable {
  readonly command: string;
  readonly headers: Record<string, string | number>;
}
interface StompitStream extends NodeJS.ReadWriteStream {
  setVersion(version: string): void;
}
const StompitParser = require(join(stompitLib, 'IncomingFrameStream.js')) as new () => StompitStream;

interface RawFrame {
  readonly command: string;
  readonly headers: [string, string][];
  readonly binaryBody: Uint8Array;
}
const { Parser } = (await import(pathToFileURL(join(stompjsLib, 'parser.js')).href)) as {
  Parser: new (onFrame: (frame: RawFrame) => void, onPing: () => void) => { parseChunk(chunk: Buffer): void };
};
const { FrameImpl } = (await import(pathToFileURL(join(stompjsLib, 'frame-impl.js')).href)) as {
  FrameImpl: {
    fromRawFrame(frame: RawFrame, escaped: boolean): Omit<ParsedFrame, 'body'> & { binaryBody: Uint8Array };
  };
};

/** One frame. */
export async function parseWithStompit(octets: Buffer, version: string): Promise<ParsedFrame> {
  const parser = new StompitParser();
  parser.setVersion(version);
  parser.write(octets);
  const [frame] = (await once(parser, 'data')) as [StompitFrame];
  const body = Buffer.concat(await frame.toArray());
  const headers = Object.fromEntries(Object.entries(frame.headers).map(([name, value]) => [name, String(value)]));
  return { command: frame.command, headers, body };
}

/** One frame. */
export function parseWithStompjs(octets: Buffer, version: string): ParsedFrame {
  const frames: RawFrame[] = [];
  const parser = new Parser(
    (frame) => frames.push(frame),
    () => {},
  );
  parser.parseChunk(octets);
  const frame = FrameImpl.fromRawFrame(frames[0]!, version !== '1.0');
  return { command: frame.command, headers: { ...frame.headers }, body: Buffer.from(frame.binaryBody) };
}
