import { malformed, type Reader } from './decode.ts';
import { ProtocolError, ReasonCode } from './reason-code.ts';

/** Properties [MQTT 5.0 §2.2.2.2]. */
export const PropertyId = {
  payloadFormatIndicator: 0x01,
  messageExpiryInterval: 0x02,
  contentType: 0x03,
  responseTopic: 0x08,
  correlationData: 0x09,
  subscriptionIdentifier: 0x0b,
  sessionExpiryInterval: 0x11,
  assignedClientIdentifier: 0x12,
  serverKeepAlive: 0x13,
  authenticationMethod: 0x15,
  authenticationData: 0x16,
  requestProblemInformation: 0x17,
  willDelayInterval: 0x18,
  requestResponseInformation: 0x19,
  responseInformation: 0x1a,
  serverReference: 0x1c,
  reasonString: 0x1f,
  receiveMaximum: 0x21,
  topicAliasMaximum: 0x22,
  topicAlias: 0x23,
  maximumQos: 0x24,
  retainAvailable: 0x25,
  userProperty: 0x26,
  maximumPacketSize: 0x27,
  wildcardSubscriptionAvailable: 0x28,
  subscriptionIdentifierAvailable: 0x29,
  sharedSubscriptionAvailable: 0x2a,
} as const;

type Kind = 'octet' | 'short' | 'long' | 'varint' | 'text' | 'octets' | 'pair';

const kindOf = new Map<number, Kind>([
  [PropertyId.payloadFormatIndicator, 'octet'],
  [PropertyId.messageExpiryInterval, 'long'],
  [PropertyId.contentType, 'text'],
  [PropertyId.responseTopic, 'text'],
  [PropertyId.correlationData, 'octets'],
  [PropertyId.subscriptionIdentifier, 'varint'],
  [PropertyId.sessionExpiryInterval, 'long'],
  [PropertyId.assignedClientIdentifier, 'text'],
  [PropertyId.serverKeepAlive, 'short'],
  [PropertyId.authenticationMethod, 'text'],
  [PropertyId.authenticationData, 'octets'],
  [PropertyId.requestProblemInformation, 'octet'],
  [PropertyId.willDelayInterval, 'long'],
  [PropertyId.requestResponseInformation, 'octet'],
  [PropertyId.responseInformation, 'text'],
  [PropertyId.serverReference, 'text'],
  [PropertyId.reasonString, 'text'],
  [PropertyId.receiveMaximum, 'short'],
  [PropertyId.topicAliasMaximum, 'short'],
  [PropertyId.topicAlias, 'short'],
  [PropertyId.maximumQos, 'octet'],
  [PropertyId.retainAvailable, 'octet'],
  [PropertyId.userProperty, 'pair'],
  [PropertyId.maximumPacketSize, 'long'],
  [PropertyId.wildcardSubscriptionAvailable, 'octet'],
  [PropertyId.subscriptionIdentifierAvailable, 'octet'],
  [PropertyId.sharedSubscriptionAvailable, 'octet'],
]);

/** Those that are 0 or 1 and nothing else. */
const flags = new Set<number>([
  PropertyId.payloadFormatIndicator,
  PropertyId.requestProblemInformation,
  PropertyId.requestResponseInformation,
]);

/** Those for which 0 is a protocol error. */
const nonZero = new Set<number>([
  PropertyId.receiveMaximum,
  PropertyId.maximumPacketSize,
  PropertyId.subscriptionIdentifier,
]);

export type PropertyValue = number | string | Buffer;

/** A property block, decoded: single properties by id, and user properties in their order. */
export interface PropertyBlock {
  readonly values: ReadonlyMap<number, PropertyValue>;
  readonly userProperties: readonly (readonly [name: string, value: string])[];
}

export const noProperties: PropertyBlock = { values: new Map(), userProperties: [] };

/**
 * Reads the octets of a block, its length already taken off; `allowed` are the properties of the packet.
 * @throws ProtocolError 0x81 for an unknown property or one of another packet, 0x82 for one that repeats
 */
export function readProperties(reader: Reader, allowed: readonly number[]): PropertyBlock {
  const values = new Map<number, PropertyValue>();
  const userProperties: [string, string][] = [];
  while (!reader.done) {
    const id = reader.varint();
    const kind = kindOf.get(id);
    if (kind === undefined || !allowed.includes(id)) throw malformed(`property 0x${id.toString(16)} has no place here`);
    if (kind === 'pair') {
      userProperties.push([reader.text(), reader.text()]);
      continue;
    }
    if (values.has(id)) throw new ProtocolError(ReasonCode.protocolError, `property 0x${id.toString(16)} repeats`);
    const value = reader[kind]();
    if (flags.has(id) && Number(value) > 1) {
      throw new ProtocolError(ReasonCode.protocolError, `property 0x${id.toString(16)} is ${value}`);
    }
    if (nonZero.has(id) && value === 0) {
      throw new ProtocolError(ReasonCode.protocolError, `property 0x${id.toString(16)} is 0`);
    }
    values.set(id, Buffer.isBuffer(value) ? Buffer.from(value) : value);
  }
  return { values, userProperties };
}

/** The offset behind the property at `at`, of the block of a PUBLISH that was read without complaint when it came. */
export function skipProperty(block: Buffer, at: number): number {
  switch (block[at]) {
    case PropertyId.payloadFormatIndicator:
      return at + 2;
    case PropertyId.topicAlias:
      return at + 3;
    case PropertyId.messageExpiryInterval:
      return at + 5;
    case PropertyId.userProperty: {
      const valueAt = at + 3 + block.readUInt16BE(at + 1);
      return valueAt + 2 + block.readUInt16BE(valueAt);
    }
    default: // content type, response topic, correlation data
      return at + 3 + block.readUInt16BE(at + 1);
  }
}

/** @throws ProtocolError 0x90 for what nobody can publish to [MQTT-3.3.2-14] */
export function demandResponseTopic(topic: string): void {
  if (topic === '' || /[+#]/.test(topic)) {
    throw new ProtocolError(ReasonCode.topicNameInvalid, `response topic '${topic}'`);
  }
}

export class PropertyWriter {
  private readonly parts: Buffer[] = [];
  private bytes = 0;

  octet(id: number, value: number): this {
    return this.add(Buffer.from([id, value]));
  }

  short(id: number, value: number): this {
    return this.add(Buffer.from([id, value >> 8, value & 0xff]));
  }

  long(id: number, value: number): this {
    const out = Buffer.alloc(5);
    out[0] = id;
    out.writeUInt32BE(value, 1);
    return this.add(out);
  }

  octets(id: number, value: Buffer): this {
    return this.add(Buffer.from([id]), lengthOf(value), value);
  }

  text(id: number, value: string): this {
    return this.octets(id, Buffer.from(value, 'utf8'));
  }

  pair(name: string, value: string): this {
    const [a, b] = [Buffer.from(name, 'utf8'), Buffer.from(value, 'utf8')];
    return this.add(Buffer.from([PropertyId.userProperty]), lengthOf(a), a, lengthOf(b), b);
  }

  /** The properties without their length. */
  end(): Buffer {
    return Buffer.concat(this.parts, this.bytes);
  }

  /** The properties behind their length. */
  endBlock(): Buffer {
    const head = Buffer.alloc(varintBytes(this.bytes));
    writeVarint(head, 0, this.bytes);
    return Buffer.concat([head, ...this.parts]);
  }

  private add(...parts: Buffer[]): this {
    for (const part of parts) {
      this.parts.push(part);
      this.bytes += part.length;
    }
    return this;
  }
}

function lengthOf(value: Buffer): Buffer {
  return Buffer.from([value.length >> 8, value.length & 0xff]);
}

export function varintBytes(value: number): number {
  return value < 128 ? 1 : value < 16_384 ? 2 : value < 2_097_152 ? 3 : 4;
}

/** @returns the offset behind it */
export function writeVarint(out: Buffer, at: number, value: number): number {
  while (value >= 128) {
    out[at++] = (value & 127) | 128;
    value >>>= 7;
  }
  out[at++] = value;
  return at;
}
