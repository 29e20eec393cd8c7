import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** amqplib's own codec, which the package does not export: loaded by its path. */
interface Codec {
  encodeTable(buffer: Buffer, value: Record<string, unknown>, offset: number): number;
  decodeFields(slice: Buffer): Record<string, unknown>;
}

export interface MethodInfo {
  readonly name: string;
  readonly id: number;
  readonly args: readonly { readonly name: string; readonly type: string; readonly default?: unknown }[];
}

interface Definitions {
  decode(id: number, payload: Buffer): Record<string, unknown>;
  encodeMethod(id: number, channel: number, fields: Record<string, unknown>): Buffer;
  encodeProperties(id: number, channel: number, size: number, fields: Record<string, unknown>): Buffer;
  info(id: number): MethodInfo;
}

const require = createRequire(import.meta.url);
const lib = join(dirname(require.resolve('amqplib')), 'lib');

export const codec = require(join(lib, 'codec.js')) as Codec;
export const defs = require(join(lib, 'defs.js')) as Definitions;
