import { isUtf8 } from 'node:buffer';
import { malformed, Reader } from './decode.ts';
import type { Version } from './packet.ts';
import { demandResponseTopic, PropertyId } from './properties.ts';
import { ProtocolError, ReasonCode } from './reason-code.ts';

/**
 * A PUBLISH from a client, read by offset: where its parts lie in the chunk, and what routing needs of its properties.
 * One object is used again and again; nothing is decoded that nobody asks for.
 *
 *     flags │ remaining length │ topic (u16 +) │ packet id, QoS > 0 │ properties (5.0: varint +) │ payload
 */
export class IncomingPublish {
  qos = 0;
  retain = false;
  duplicate = false;
  /** The topic's octets, without their length. */
  topicAt = 0;
  topicBytes = 0;
  /** 0 with QoS 0. */
  packetId = 0;
  /** The property block, without its length; empty before 5.0. */
  nativeAt = 0;
  payloadAt = 0;
  /** Seconds, −1 = none. */
  expirySeconds = -1;
  /** 0 = none. */
  topicAlias = 0;
  /** Where the alias's three octets begin. */
  topicAliasAt = 0;
  /** The payload is said to be UTF-8. */
  isText = false;
  /** The user property of the name, 0–255; −1 = none. */
  priority = -1;
  /** Where the length of the user property `user-id` begins; −1 = none. */
  userIdAt = -1;

  /**
   * @param first the packet's first octet
   * @param body where the fixed header ends, and `next` where the packet does
   * @throws ProtocolError 0x81, and what its properties are refused with
   */
  read(chunk: Buffer, first: number, body: number, next: number, version: Version): void {
    const qos = (first >> 1) & 3;
    this.qos = qos;
    this.retain = (first & 1) !== 0;
    this.duplicate = (first & 8) !== 0;
    if (qos === 3) throw malformed('QoS 3'); // [MQTT-3.3.1-4]
    if (qos === 0 && this.duplicate) throw malformed('DUP with QoS 0'); // [MQTT-3.3.1-2]
    if (next - body < 2) throw malformed('packet is cut');
    this.topicAt = body + 2;
    this.topicBytes = (chunk[body]! << 8) | chunk[body + 1]!;
    let at = body + 2 + this.topicBytes;
    this.packetId = 0;
    if (qos > 0) {
      if (at + 2 > next) throw malformed('packet is cut');
      this.packetId = (chunk[at]! << 8) | chunk[at + 1]!;
      at += 2;
      if (this.packetId === 0) throw malformed('packet id 0'); // [MQTT-2.2.1-3] [3.1.1 MQTT-2.3.1-1]
    }
    if (at > next) throw malformed('packet is cut');
    this.nativeAt = at;
    this.payloadAt = at;
    this.expirySeconds = -1;
    this.topicAlias = 0;
    this.isText = false;
    this.priority = -1;
    this.userIdAt = -1;
    if (version === 5) this.readProperties(chunk, at, next);
  }

  private readProperties(chunk: Buffer, at: number, next: number): void {
    const octet = at < next ? chunk[at]! : 0x80;
    if (octet === 0) {
      this.nativeAt = at + 1;
      this.payloadAt = at + 1;
      return;
    }
    const reader = new Reader(chunk, at, next);
    const length = reader.varint();
    this.nativeAt = reader.at;
    this.payloadAt = reader.at + length;
    if (this.payloadAt > next) throw malformed('packet is cut');
    this.readBlock(new Reader(chunk, this.nativeAt, this.payloadAt));
  }

  /** A property block alone, of a will or of a device without properties: what routing needs of it. */
  readNative(native: Buffer): void {
    this.expirySeconds = -1;
    this.priority = -1;
    this.userIdAt = -1;
    this.readBlock(new Reader(native, 0, native.length));
  }

  private readBlock(reader: Reader): void {
    let seen = 0;
    while (!reader.done) {
      const id = reader.octet();
      const bit = singles[id]!;
      if ((seen & bit) !== 0)
        throw new ProtocolError(ReasonCode.protocolError, `property 0x${id.toString(16)} repeats`);
      seen |= bit;
      switch (id) {
        case PropertyId.payloadFormatIndicator: {
          const indicator = reader.octet();
          if (indicator > 1) throw new ProtocolError(ReasonCode.protocolError, 'payload format indicator above 1');
          this.isText = indicator === 1;
          break;
        }
        case PropertyId.messageExpiryInterval:
          this.expirySeconds = reader.long();
          break;
        case PropertyId.topicAlias:
          this.topicAliasAt = reader.at - 1;
          this.topicAlias = reader.short();
          if (this.topicAlias === 0) throw new ProtocolError(ReasonCode.topicAliasInvalid, 'topic alias 0'); // [MQTT-3.3.2-8]
          break;
        case PropertyId.contentType:
          reader.skipText(); // [MQTT-3.3.2-19]
          break;
        case PropertyId.responseTopic:
          demandResponseTopic(reader.text());
          break;
        case PropertyId.correlationData:
          reader.octets();
          break;
        case PropertyId.userProperty: {
          const nameAt = reader.at;
          reader.skipText(); // [MQTT-1.5.7-1]
          const valueAt = reader.at;
          reader.skipText();
          // by its length first: most names are others
          if (valueAt - nameAt === 2 + priorityName.length) this.takePriority(reader, nameAt, valueAt);
          else if (valueAt - nameAt === 2 + userIdName.length) this.takeUserId(reader, nameAt, valueAt);
          break;
        }
        case PropertyId.subscriptionIdentifier: // [MQTT-3.3.4-6] a client does not send one
          throw new ProtocolError(ReasonCode.protocolError, 'subscription identifier in a PUBLISH from a client');
        default:
          throw malformed(`property 0x${id.toString(16)} has no place here`);
      }
    }
  }

  // Of a name that repeats the first counts.
  private takePriority({ bytes, at }: Reader, nameAt: number, valueAt: number): void {
    if (this.priority >= 0 || !isName(bytes, nameAt, priorityName)) return;
    const text = bytes.toString('latin1', valueAt + 2, at);
    if (/^\d{1,3}$/.test(text) && Number(text) <= 255) this.priority = Number(text);
  }

  private takeUserId({ bytes }: Reader, nameAt: number, valueAt: number): void {
    if (this.userIdAt < 0 && isName(bytes, nameAt, userIdName)) this.userIdAt = valueAt;
  }

  /** False for a user id that is not the publisher's own. */
  isUser(chunk: Buffer, user: string): boolean {
    const at = this.userIdAt;
    return at < 0 || chunk.toString('utf8', at + 2, at + 2 + chunk.readUInt16BE(at)) === user;
  }

  /** True for a payload that is not the UTF-8 it is said to be. */
  isMislabelled(chunk: Buffer, next: number): boolean {
    return this.isText && !isUtf8(chunk.subarray(this.payloadAt, next));
  }
}

const priorityName = Buffer.from('priority');
const userIdName = Buffer.from('user-id');

function isName(bytes: Buffer, at: number, name: Buffer): boolean {
  return name.compare(bytes, at + 2, at + 2 + name.length) === 0;
}

/** A bit for each property that may be there once, 0 for the others. */
const singles = new Uint8Array(256);
for (const [i, id] of [
  PropertyId.payloadFormatIndicator,
  PropertyId.messageExpiryInterval,
  PropertyId.topicAlias,
  PropertyId.contentType,
  PropertyId.responseTopic,
  PropertyId.correlationData,
].entries()) {
  singles[id] = 1 << i;
}
