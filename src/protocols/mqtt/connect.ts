import { malformed, Reader } from './decode.ts';
import type { Version } from './packet.ts';
import { demandResponseTopic, noProperties, type PropertyBlock, PropertyId, readProperties } from './properties.ts';
import { ProtocolError, ReasonCode } from './reason-code.ts';

export interface Connect {
  readonly version: Version;
  readonly clientId: string;
  readonly cleanStart: boolean;
  /** Seconds; 0xFFFFFFFF = never. */
  readonly sessionExpirySeconds: number;
  /** 0 = off. */
  readonly keepAliveSeconds: number;
  readonly user: string | undefined;
  readonly password: Buffer | undefined;
  readonly will: ConnectWill | undefined;
  readonly properties: PropertyBlock;
}

export interface ConnectWill {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: number;
  readonly retain: boolean;
  readonly delaySeconds: number;
  /** Of the message; −1 = never. */
  readonly expirySeconds: number;
  /** The properties' octets as they came but for the delay, which is the server's alone; empty before 5.0. */
  readonly native: Buffer;
}

const connectProperties = [
  PropertyId.sessionExpiryInterval,
  PropertyId.receiveMaximum,
  PropertyId.maximumPacketSize,
  PropertyId.topicAliasMaximum,
  PropertyId.requestResponseInformation,
  PropertyId.requestProblemInformation,
  PropertyId.userProperty,
  PropertyId.authenticationMethod,
  PropertyId.authenticationData,
];

const willProperties = [
  PropertyId.willDelayInterval,
  PropertyId.payloadFormatIndicator,
  PropertyId.messageExpiryInterval,
  PropertyId.contentType,
  PropertyId.responseTopic,
  PropertyId.correlationData,
  PropertyId.userProperty,
];

/** A protocol level that is not spoken: answered with a CONNACK that says so [MQTT-3.1.2-2]. */
export class UnsupportedLevel extends ProtocolError {
  readonly level: number;

  constructor(level: number) {
    super(ReasonCode.unsupportedProtocolVersion, `protocol level ${level} is not spoken`);
    this.level = level;
  }
}

export const never = 0xffff_ffff;

/** In the level: the client is another broker's bridge [Mosquitto: try_private]. */
const bridgeBit = 0x80;

/** The head of a CONNECT. @throws ProtocolError, and `UnsupportedLevel` for a right name with a level that is not spoken */
export function readVersion(reader: Reader): { version: Version; isBridge: boolean } {
  const name = reader.text();
  const level = reader.octet();
  const isBridge = level === (bridgeBit | 3) || level === (bridgeBit | 4);
  return { version: versionOf(name, isBridge ? level & ~bridgeBit : level), isBridge };
}

/** The rest of a CONNECT, behind `readVersion`. @throws ProtocolError */
export function readConnect(reader: Reader, version: Version): Connect {
  const flags = reader.octet();
  const [hasUser, hasPassword, willRetain, willQos, hasWill, clean, reserved] = [
    (flags & 0x80) !== 0,
    (flags & 0x40) !== 0,
    (flags & 0x20) !== 0,
    (flags >> 3) & 3,
    (flags & 4) !== 0,
    (flags & 2) !== 0,
    (flags & 1) !== 0,
  ];
  if (reserved) throw malformed('reserved connect flag is set'); // [MQTT-3.1.2-3]
  if (willQos === 3 || (!hasWill && (willQos !== 0 || willRetain))) throw malformed('will flags disagree'); // [MQTT-3.1.2-11] [MQTT-3.1.2-12] [MQTT-3.1.2-13] [3.1.1 MQTT-3.1.2-11]
  if (version < 5 && hasPassword && !hasUser) throw malformed('password without user name'); // [3.1.1 MQTT-3.1.2-22]
  const keepAliveSeconds = reader.short();
  const properties = version === 5 ? readProperties(reader.part(reader.varint()), connectProperties) : noProperties;
  const clientId = reader.text();
  const will = hasWill ? readWill(reader, version, willQos, willRetain) : undefined;
  // [MQTT 3.1 §3.1] the user name may be missing though its flag is set
  const user = hasUser && !(version === 3 && reader.done) ? reader.text() : undefined;
  const password = hasPassword && !(version === 3 && reader.done) ? Buffer.from(reader.octets()) : undefined;
  if (!reader.done) throw malformed('CONNECT is longer than its fields');
  if (properties.values.has(PropertyId.authenticationData) && !properties.values.has(PropertyId.authenticationMethod)) {
    throw new ProtocolError(ReasonCode.protocolError, 'authentication data without a method');
  }
  const expiry = properties.values.get(PropertyId.sessionExpiryInterval);
  return {
    version,
    clientId,
    cleanStart: clean,
    sessionExpirySeconds: version === 5 ? Number(expiry ?? 0) : clean ? 0 : never,
    keepAliveSeconds,
    user,
    password,
    will,
    properties,
  };
}

function readWill(reader: Reader, version: Version, qos: number, retain: boolean): ConnectWill {
  let block: PropertyBlock = noProperties;
  let native: Buffer = Buffer.alloc(0);
  if (version === 5) {
    const properties = reader.part(reader.varint());
    const { bytes, at, end } = properties;
    block = readProperties(properties, willProperties);
    native = withoutDelay(bytes.subarray(at, end));
  }
  const { values } = block;
  const responseTopic = values.get(PropertyId.responseTopic);
  if (typeof responseTopic === 'string') demandResponseTopic(responseTopic);
  return {
    topic: reader.text(),
    payload: Buffer.from(reader.octets()),
    qos,
    retain,
    delaySeconds: Number(values.get(PropertyId.willDelayInterval) ?? 0),
    expirySeconds: Number(values.get(PropertyId.messageExpiryInterval) ?? -1),
    native,
  };
}

// A copy. The delay's five octets are found by walking over the others, which are known to be sound.
function withoutDelay(block: Buffer): Buffer {
  const reader = new Reader(block, 0, block.length);
  while (!reader.done) {
    const start = reader.at;
    switch (reader.octet()) {
      case PropertyId.willDelayInterval:
        return Buffer.concat([block.subarray(0, start), block.subarray(start + 5)]);
      case PropertyId.payloadFormatIndicator:
        reader.octet();
        break;
      case PropertyId.messageExpiryInterval:
        reader.long();
        break;
      case PropertyId.userProperty:
        reader.octets();
        reader.octets();
        break;
      default:
        reader.octets();
    }
  }
  return Buffer.from(block);
}

function versionOf(name: string, level: number): Version {
  if (name === 'MQTT' && (level === 4 || level === 5)) return level;
  if (name === 'MQIsdp' && level === 3) return 3;
  if (name === 'MQTT' || name === 'MQIsdp') throw new UnsupportedLevel(level);
  throw malformed(`protocol name '${name}'`); // [MQTT-3.1.2-1] [3.1.1 MQTT-3.1.2-1]
}
