import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** rhea's own codec, which its types do not show: loaded by its path. */
interface Types {
  readonly Reader: new (octets: Buffer) => { read(): unknown; remaining(): number };
  readonly Writer: new () => { write(value: unknown): void; toBuffer(): Buffer };
}

interface Frames {
  read_frame(octets: Buffer): { channel: number; performative: Record<string, unknown>; payload?: Buffer };
  write_frame(frame: object): Buffer;
  amqp_frame(channel: number, performative: unknown, payload?: Buffer): object;
  [performative: string]: unknown;
}

const require = createRequire(import.meta.url);
const lib = dirname(require.resolve('rhea'));

export const types = require(join(lib, 'types.js')) as Types;
export const frames = require(join(lib, 'frames.js')) as Frames;
