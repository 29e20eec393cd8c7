import type { Authenticator } from '../../core/auth.ts';
import type { Client } from '../../core/client.ts';
import { Message, noDeaths } from '../../core/message.ts';
import type { Vhost } from '../../core/vhost.ts';
import type { Connect } from './connect.ts';
import { mqtt3Format, mqtt5Format } from './message.ts';
import { type PropertyBlock, PropertyId, PropertyWriter } from './properties.ts';
import { toRoutingKey } from './topic.ts';

/** What is published in a client's name when its connection ends without a farewell [MQTT-3.1.2-8]. */
export interface Will {
  readonly user: string;
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: number;
  readonly retain: boolean;
  /** The property block that subscribers get; null before MQTT 5. */
  readonly native: Buffer | null;
  readonly delaySeconds: number;
  /** −1 = never. */
  readonly expirySeconds: number;
}

export function readWill(connect: Connect, user: string): Will | null {
  const { will } = connect;
  if (will === undefined) return null;
  const { values } = will.properties;
  return {
    user,
    topic: will.topic,
    payload: will.payload,
    qos: will.qos,
    retain: will.retain,
    native: connect.version === 5 ? encodeBlock(will.properties) : null,
    delaySeconds: Number(values.get(PropertyId.willDelayInterval) ?? 0),
    expirySeconds: Number(values.get(PropertyId.messageExpiryInterval) ?? -1),
  };
}

/** Publishes it if its user may still do so; refusals are for nobody to hear. */
export function publishWill(
  vhost: Vhost,
  exchange: string,
  will: Will,
  publisher: Client | null,
  users: Authenticator,
): boolean {
  const routingKey = toRoutingKey(will.topic);
  const access = users.findAccess(will.user, vhost.name);
  if (!access?.allows('write', 'exchange', exchange) || !access.allows('write', 'topic', routingKey)) return false;
  const native = will.native ?? Buffer.alloc(0);
  const bytes = Buffer.concat([native, will.payload]);
  const message = new Message({
    format: will.native === null ? mqtt3Format : mqtt5Format,
    exchange,
    routingKey,
    durable: will.qos > 0,
    priority: -1,
    expiresAtMs: will.expirySeconds < 0 ? 0 : vhost.nowMs + will.expirySeconds * 1000,
    qos: will.qos,
    retain: will.retain,
    publisher,
    deaths: noDeaths,
    bytes,
    start: 0,
    end: bytes.length,
    nativeStart: 0,
    nativeEnd: native.length,
    bodyStart: native.length,
    bodyEnd: bytes.length,
  });
  vhost.publish(vhost.routeFor(exchange, routingKey), message, null, 0);
  return true;
}

// [MQTT-3.1.3-10] user properties in their order; the delay is for the server alone
function encodeBlock({ values, userProperties }: PropertyBlock): Buffer {
  const writer = new PropertyWriter();
  for (const [id, value] of values) {
    if (id === PropertyId.willDelayInterval) continue;
    if (Buffer.isBuffer(value)) writer.octets(id, value);
    else if (typeof value === 'string') writer.text(id, value);
    else if (id === PropertyId.payloadFormatIndicator) writer.octet(id, value);
    else writer.long(id, value);
  }
  for (const [name, value] of userProperties) writer.pair(name, value);
  return writer.end();
}

interface WillRecord extends Omit<Will, 'payload' | 'native'> {
  readonly payload: string;
  readonly native: string | null;
}

export function willToJson(will: Will): WillRecord {
  return { ...will, payload: will.payload.toString('base64'), native: will.native?.toString('base64') ?? null };
}

export function willFromJson(record: WillRecord): Will {
  return {
    ...record,
    payload: Buffer.from(record.payload, 'base64'),
    native: record.native === null ? null : Buffer.from(record.native, 'base64'),
  };
}

export type { WillRecord };
