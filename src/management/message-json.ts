import { isUtf8 } from 'node:buffer';
import type { Client } from '../core/client.ts';
import type { MessageFormat } from '../core/format.ts';
import { Message, noDeaths } from '../core/message.ts';
import type { Properties } from '../core/properties.ts';
import { headersFromJson, headersToJson, toJson } from './arguments.ts';
import { badRequest } from './errors.ts';

/** A message as the API takes and shows it: AMQP 0-9-1's properties by RabbitMQ's names. */
export interface PropertiesJson {
  readonly content_type?: string;
  readonly content_encoding?: string;
  readonly headers?: object;
  readonly delivery_mode?: number;
  readonly priority?: number;
  readonly correlation_id?: string;
  readonly reply_to?: string;
  readonly expiration?: string | number;
  readonly message_id?: string;
  readonly timestamp?: number;
  readonly type?: string;
  readonly user_id?: string;
  readonly app_id?: string;
}

export function showProperties(message: Message, format: MessageFormat): PropertiesJson {
  const properties = format.decode(message.as(format), message);
  const { headers, replyTo, ttlMs, timestampMs, durable } = properties;
  const all: Record<string, unknown> = {
    content_type: properties.contentType,
    content_encoding: properties.contentEncoding,
    headers: headers.size === 0 ? undefined : headersToJson(headers),
    delivery_mode: durable === undefined ? undefined : durable ? 2 : 1,
    priority: properties.priority,
    correlation_id: properties.correlationId === undefined ? undefined : toJson(properties.correlationId),
    reply_to: replyTo?.text,
    expiration: ttlMs === undefined ? undefined : String(ttlMs),
    message_id: properties.messageId === undefined ? undefined : toJson(properties.messageId),
    timestamp: timestampMs === undefined ? undefined : Math.floor(timestampMs / 1000),
    type: properties.type,
    user_id: properties.userId,
    app_id: properties.appId,
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

/** @param encoding `auto` shows text as such; anything else is base64 */
export function showPayload(
  body: Buffer,
  encoding: string,
  truncate: number,
): { payload: string; payload_encoding: 'string' | 'base64' } {
  const cut = body.subarray(0, truncate);
  if (encoding === 'auto' && isUtf8(cut)) return { payload: cut.toString('utf8'), payload_encoding: 'string' };
  return { payload: cut.toString('base64'), payload_encoding: 'base64' };
}

export function readPayload(payload: string, encoding: string): Buffer {
  if (encoding === 'string') return Buffer.from(payload, 'utf8');
  const bytes = Buffer.from(payload, 'base64');
  if (encoding === 'base64' && bytes.toString('base64').replaceAll('=', '') === payload.replaceAll('=', ''))
    return bytes;
  throw badRequest(encoding === 'base64' ? 'payload is not base64' : `unsupported payload encoding '${encoding}'`);
}

export interface Publication {
  readonly exchange: string;
  readonly routingKey: string;
  readonly properties: PropertiesJson;
  readonly body: Buffer;
}

/** @throws HttpError 400 for properties that cannot be */
export function makeMessage(
  { exchange, routingKey, properties: json, body }: Publication,
  publisher: Client,
  format: MessageFormat,
  nowMs: number,
): Message {
  const properties = readProperties(json, publisher.user);
  const facts = {
    format,
    exchange,
    routingKey,
    durable: properties.durable === true,
    priority: properties.priority ?? -1,
    expiresAtMs: properties.ttlMs === undefined ? 0 : nowMs + properties.ttlMs,
    qos: -1,
    retain: false,
    publisher,
    deaths: noDeaths,
  };
  const place = { start: 0, nativeStart: 0, nativeEnd: 0, bodyStart: 0 };
  const bare = new Message({ ...facts, ...place, bytes: body, bodyEnd: body.length, end: body.length });
  const native = format.encode(properties, bare);
  const bytes = Buffer.concat([native, body]);
  return new Message({
    ...facts,
    ...place,
    bytes,
    nativeEnd: native.length,
    bodyStart: native.length,
    bodyEnd: bytes.length,
    end: bytes.length,
  });
}

function readProperties(json: PropertiesJson, user: string): Properties {
  const properties: Properties = { headers: headersFromJson(json.headers) };
  if (json.user_id !== undefined && json.user_id !== user) {
    throw badRequest(`user_id property set to '${json.user_id}' but authenticated user was '${user}'`);
  }
  const texts = {
    contentType: json.content_type,
    contentEncoding: json.content_encoding,
    correlationId: json.correlation_id,
    messageId: json.message_id,
    type: json.type,
    userId: json.user_id,
    appId: json.app_id,
  };
  for (const [name, value] of Object.entries(texts) as [keyof typeof texts, string | undefined][]) {
    if (value === undefined) continue;
    if (Buffer.byteLength(value) > 255) throw badRequest(`${name} is longer than 255 octets`);
    properties[name] = value;
  }
  if (json.delivery_mode !== undefined) properties.durable = json.delivery_mode === 2;
  if (json.priority !== undefined) properties.priority = json.priority;
  if (json.timestamp !== undefined) properties.timestampMs = json.timestamp * 1000;
  if (json.expiration !== undefined) {
    const ms = Number(json.expiration);
    if (!Number.isInteger(ms) || ms < 0) throw badRequest(`invalid expiration '${json.expiration}'`);
    properties.ttlMs = ms;
  }
  const replyTo = json.reply_to;
  if (replyTo !== undefined) {
    properties.replyTo = { exchange: '', key: replyTo, text: replyTo, protocol: 'amqp-0-9-1' };
  }
  return properties;
}
