import { malformed, type Reader } from './decode.ts';
import type { Version } from './packet.ts';
import { noProperties, type PropertyBlock, PropertyId, readProperties } from './properties.ts';
import { ProtocolError, ReasonCode } from './reason-code.ts';
import type { Subscription } from './subscription.ts';

/**
 * What clients send beside CONNECT (`connect.ts`) and PUBLISH (`publish.ts`): each function reads what is behind the
 * fixed header, all of it, and throws ProtocolError 0x81 for what is malformed and 0x82 for what has no place there.
 */

export interface Ack {
  readonly packetId: number;
  readonly code: number;
}

const ackProperties = [PropertyId.reasonString, PropertyId.userProperty];

const publishedCodes: readonly number[] = [
  ReasonCode.success,
  ReasonCode.noMatchingSubscribers,
  ReasonCode.unspecifiedError,
  ReasonCode.implementationSpecificError,
  ReasonCode.notAuthorized,
  ReasonCode.topicNameInvalid,
  ReasonCode.packetIdentifierInUse,
  ReasonCode.quotaExceeded,
  ReasonCode.payloadFormatInvalid,
];
const releasedCodes: readonly number[] = [ReasonCode.success, ReasonCode.packetIdentifierNotFound];

/** PUBACK and PUBREC. */
export function readPublishedAck(reader: Reader, version: Version): Ack {
  return readAck(reader, version, publishedCodes);
}

/** PUBREL and PUBCOMP. */
export function readReleasedAck(reader: Reader, version: Version): Ack {
  return readAck(reader, version, releasedCodes);
}

function readAck(reader: Reader, version: Version, codes: readonly number[]): Ack {
  const packetId = readPacketId(reader);
  let code = 0;
  if (version === 5 && !reader.done) {
    code = readCode(reader, codes);
    if (!reader.done) readProperties(reader.part(reader.varint()), ackProperties);
  }
  demandEnd(reader);
  return { packetId, code };
}

export interface Subscribe {
  readonly packetId: number;
  readonly subscriptions: readonly Subscription[];
}

const subscribeProperties = [PropertyId.subscriptionIdentifier, PropertyId.userProperty];

export function readSubscribe(reader: Reader, version: Version): Subscribe {
  const packetId = readPacketId(reader);
  const { values } = version === 5 ? readProperties(reader.part(reader.varint()), subscribeProperties) : noProperties;
  const subscriptionId = Number(values.get(PropertyId.subscriptionIdentifier) ?? 0);
  const subscriptions: Subscription[] = [];
  while (!reader.done) subscriptions.push(readSubscription(reader, version, subscriptionId));
  if (subscriptions.length === 0) throw new ProtocolError(ReasonCode.protocolError, 'SUBSCRIBE without a filter'); // [MQTT-3.8.3-2]
  return { packetId, subscriptions };
}

function readSubscription(reader: Reader, version: Version, subscriptionId: number): Subscription {
  const filter = reader.text();
  const options = reader.octet();
  const qos = options & 3;
  if (qos === 3 || (options & (version === 5 ? 0xc0 : 0xfc)) !== 0) throw malformed('subscription options'); // [MQTT-3.8.3-5]
  const retainHandling = (options >> 4) & 3;
  if (retainHandling === 3) throw new ProtocolError(ReasonCode.protocolError, 'retain handling 3');
  const noLocal = (options & 4) !== 0;
  if (noLocal && filter.startsWith('$share/')) {
    throw new ProtocolError(ReasonCode.protocolError, 'no local on a shared subscription'); // [MQTT-3.8.3-4]
  }
  return { filter, qos, noLocal, retainAsPublished: (options & 8) !== 0, retainHandling, subscriptionId };
}

export interface Unsubscribe {
  readonly packetId: number;
  readonly filters: readonly string[];
}

export function readUnsubscribe(reader: Reader, version: Version): Unsubscribe {
  const packetId = readPacketId(reader);
  if (version === 5) readProperties(reader.part(reader.varint()), [PropertyId.userProperty]);
  const filters: string[] = [];
  while (!reader.done) filters.push(reader.text());
  if (filters.length === 0) throw new ProtocolError(ReasonCode.protocolError, 'UNSUBSCRIBE without a filter'); // [MQTT-3.10.3-2]
  return { packetId, filters };
}

export interface Disconnect {
  readonly code: number;
  /** Seconds; undefined: as it was. */
  readonly sessionExpirySeconds: number | undefined;
}

// a client sends no server reference
const disconnectProperties = [PropertyId.sessionExpiryInterval, PropertyId.reasonString, PropertyId.userProperty];

/** What a client may say as it leaves [MQTT 5.0 §3.14.2.1]. */
const leavingCodes: readonly number[] = [
  ReasonCode.success,
  ReasonCode.disconnectWithWill,
  ReasonCode.unspecifiedError,
  ReasonCode.malformedPacket,
  ReasonCode.protocolError,
  ReasonCode.implementationSpecificError,
  ReasonCode.topicNameInvalid,
  ReasonCode.receiveMaximumExceeded,
  ReasonCode.topicAliasInvalid,
  ReasonCode.packetTooLarge,
  ReasonCode.messageRateTooHigh,
  ReasonCode.quotaExceeded,
  ReasonCode.administrativeAction,
  ReasonCode.payloadFormatInvalid,
];

export function readDisconnect(reader: Reader, version: Version): Disconnect {
  let code = 0;
  let block: PropertyBlock = noProperties;
  if (version === 5 && !reader.done) {
    code = readCode(reader, leavingCodes);
    if (!reader.done) block = readProperties(reader.part(reader.varint()), disconnectProperties);
  }
  demandEnd(reader);
  const expiry = block.values.get(PropertyId.sessionExpiryInterval);
  return { code, sessionExpirySeconds: typeof expiry === 'number' ? expiry : undefined };
}

export interface Auth {
  readonly code: number;
  readonly method: string;
  readonly data: Buffer;
}

const authProperties = [
  PropertyId.authenticationMethod,
  PropertyId.authenticationData,
  PropertyId.reasonString,
  PropertyId.userProperty,
];
const authCodes: readonly number[] = [ReasonCode.continueAuthentication, ReasonCode.reAuthenticate];

export function readAuth(reader: Reader): Auth {
  // [MQTT 5.0 §3.15.2.1] nothing at all is Success, which is for the server to say
  const code = reader.done ? ReasonCode.success : reader.octet();
  if (!authCodes.includes(code)) throw new ProtocolError(ReasonCode.protocolError, `AUTH with reason code ${code}`);
  const { values } = readProperties(reader.part(reader.varint()), authProperties);
  demandEnd(reader);
  const method = values.get(PropertyId.authenticationMethod);
  if (typeof method !== 'string') throw new ProtocolError(ReasonCode.protocolError, 'AUTH without a method');
  const data = values.get(PropertyId.authenticationData);
  return { code, method, data: Buffer.isBuffer(data) ? data : Buffer.alloc(0) };
}

function readPacketId(reader: Reader): number {
  const packetId = reader.short();
  if (packetId === 0) throw malformed('packet id 0');
  return packetId;
}

function readCode(reader: Reader, codes: readonly number[]): number {
  const code = reader.octet();
  if (codes.includes(code)) return code;
  throw new ProtocolError(ReasonCode.protocolError, `reason code 0x${code.toString(16)} has no place here`);
}

function demandEnd(reader: Reader): void {
  if (!reader.done) throw malformed('packet is longer than its fields');
}
