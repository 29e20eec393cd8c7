import type { Access, Authenticator } from '../../core/auth.ts';
import type { Client } from '../../core/client.ts';
import { Message, noDeaths } from '../../core/message.ts';
import type { Vhost } from '../../core/vhost.ts';
import { clientIdProperty, withClientId } from './client-id-header.ts';
import type { Connect } from './connect.ts';
import type { DeviceRules } from './device-rules.ts';
import { mqtt3Format, mqtt5Format, strangeUserFormat } from './message.ts';
import { IncomingPublish } from './publish.ts';
import { spellingOf } from './topic.ts';

const properties = new IncomingPublish();

/** What is published in a client's name when its connection ends without a farewell [MQTT-3.1.2-8]. */
export interface Will {
  readonly user: string;
  /** Patterns of topic permissions may name it. */
  readonly clientId: string;
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: number;
  readonly retain: boolean;
  /** The property block that subscribers get, as it came [MQTT-3.1.3-10]; null when it has none, as before MQTT 5. */
  readonly native: Buffer | null;
  readonly delaySeconds: number;
  /** −1 = never. */
  readonly expirySeconds: number;
}

export function willOf({ will, version }: Connect, user: string, clientId: string): Will | null {
  if (will === undefined) return null;
  return { ...will, user, clientId, native: version === 5 ? will.native : null };
}

/** The will of a client without properties, as the rules of its listener have it. */
export function ruledWill(will: Will, vhost: Vhost, topics: string, rules: DeviceRules): Will {
  const [exchange, routingKey] = spellingOf(vhost.topicMapping).addressOf(will.topic, topics);
  const unwrapped = rules.incoming(exchange, routingKey, will.payload, null);
  if (unwrapped === null) return will;
  const { native, body } = unwrapped;
  properties.readNative(native);
  return { ...will, native, payload: body, expirySeconds: properties.expirySeconds };
}

/** The will as a message of a listener that says who publishes. */
export function willWithClientId(will: Will): Will {
  return { ...will, native: withClientId(will.native ?? Buffer.alloc(0), clientIdProperty(will.clientId)) };
}

/** May its user publish it, as things are now? Asked when the client comes, and when it is due. */
export function mayPublishWill(will: Will, vhost: Vhost, topics: string, access: Access): boolean {
  const [exchange, routingKey] = spellingOf(vhost.topicMapping).addressOf(will.topic, topics);
  if (!access.allows('write', 'exchange', exchange)) return false;
  return exchange === '' || access.allows('write', 'topic', routingKey, { exchange, clientId: will.clientId });
}

/** Publishes it if its user may still do so; refusals are for nobody to hear. */
export function publishWill(
  vhost: Vhost,
  topics: string,
  will: Will,
  publisher: Client | null,
  users: Authenticator,
): boolean {
  const access = users.findAccess(will.user, vhost.name);
  if (access === null || !mayPublishWill(will, vhost, topics, access)) return false;
  const [exchange, routingKey] = spellingOf(vhost.topicMapping).addressOf(will.topic, topics);
  const native = will.native ?? Buffer.alloc(0);
  const bytes = Buffer.concat([native, will.payload]);
  properties.readNative(native);
  const message = new Message({
    format: will.native === null ? mqtt3Format : properties.isUser(native, will.user) ? mqtt5Format : strangeUserFormat,
    exchange,
    routingKey,
    durable: will.qos > 0,
    priority: properties.priority,
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
