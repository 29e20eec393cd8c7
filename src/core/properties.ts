import { encodeText } from '../lib/bytes.ts';
import type { ReplyAddress } from './reply.ts';

/** Number types narrower or wider than JavaScript's, and others that it lacks, keep their type beside the value. */
export type TypedValue =
  | { readonly type: NumberType; readonly value: number }
  | { readonly type: 'long' | 'ulong' | 'timestamp'; readonly value: bigint }
  | { readonly type: 'decimal'; readonly scale: number; readonly value: number }
  | { readonly type: 'decimal32' | 'decimal64' | 'decimal128' | 'uuid'; readonly value: Buffer }
  | { readonly type: 'char' | 'symbol'; readonly value: string };

export type NumberType = 'byte' | 'ubyte' | 'short' | 'ushort' | 'int' | 'uint' | 'float' | 'double';

/**
 * A header's value in the shared vocabulary, as rich as AMQP 1.0's types: text, binary (a Buffer), list and map are
 * JavaScript's own, the rest is typed. A timestamp counts milliseconds.
 */
export type Value = null | boolean | string | Buffer | TypedValue | readonly Value[] | Headers;

export type Headers = ReadonlyMap<string, Value>;

/** How deep lists and maps may lie in each other in one value, whoever writes it: many clients read them by calls within calls. */
export const nestingMax = 64;

/**
 * What a publisher said of its message, in the words that all protocols share. Absent is absent: no field is filled
 * with a default, so that the way back to the publisher's protocol restores what it wrote.
 */
export interface Properties {
  contentType?: string;
  contentEncoding?: string;
  /** True: text, false: bytes (MQTT's Payload Format Indicator, STOMP's text and bytes messages). */
  textPayload?: boolean;
  correlationId?: string | Buffer | TypedValue;
  messageId?: string | Buffer | TypedValue;
  /** Resolved when it is needed: what it names belongs to the requester's protocol. */
  replyTo?: ReplyAddress;
  priority?: number;
  durable?: boolean;
  /** Time to live as published, in milliseconds. */
  ttlMs?: number;
  timestampMs?: number;
  userId?: string;
  appId?: string;
  type?: string;
  subject?: string;
  to?: string;
  groupId?: string;
  groupSequence?: number;
  replyToGroupId?: string;
  headers: Headers;
  /** Routing keys beside the message's own, which its publish was routed by: no format writes them, for `CC` in the headers says so. */
  copies?: readonly string[];
  /** Those that are hidden from consumers. */
  blindCopies?: readonly string[];
  /** What the publisher said and these properties do not, for it found no room in the residue. */
  lost?: readonly string[];
}

export const noHeaders: Headers = new Map();

export function isTyped(value: Value): value is TypedValue {
  return typeof value === 'object' && value !== null && 'type' in value && !(value instanceof Map);
}

/** What a message or correlation id can be. */
export function isId(value: Value | undefined): value is string | Buffer | TypedValue {
  if (typeof value === 'string' || Buffer.isBuffer(value)) return true;
  return value !== undefined && isTyped(value) && (value.type === 'uuid' || value.type === 'ulong');
}

/** Binary as such, text as UTF-8: for places that carry octets. */
export function toOctets(value: string | Buffer | TypedValue): Buffer {
  if (typeof value === 'string') return encodeText(value);
  if (Buffer.isBuffer(value)) return value;
  return Buffer.isBuffer(value.value) ? value.value : Buffer.from(String(value.value), 'utf8');
}
