import { malformed, type Reader } from './decode.ts';
import type { Version } from './packet.ts';
import { noProperties, type PropertyBlock, PropertyId, readProperties } from './properties.ts';
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
  readonly will: Will | undefined;
  readonly properties: PropertyBlock;
}

export interface Will {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: number;
  readonly retain: boolean;
  /** The octets of the will's properties, as they came; `delaySeconds` is among them. */
  readonly properties: PropertyBlock;
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

/** The head of a CONNECT. @throws ProtocolError, and `UnsupportedLevel` for a right name with a level that is not spoken */
export function readVersion(reader: Reader): Version {
  const name = reader.text();
  return versionOf(name, reader.octet());
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
  if (willQos === 3 || (!hasWill && (willQos !== 0 || willRetain))) throw malformed('will flags disagree'); // [MQTT-3.1.2-11..15]
  if (version < 5 && hasPassword && !hasUser) throw malformed('password without user name'); // [MQTT-3.1.2-22] of 3.1.1
  const keepAliveSeconds = reader.short();
  const properties = version === 5 ? readProperties(reader.part(reader.varint()), connectProperties) : noProperties;
  const clientId = reader.text();
  let will: Will | undefined;
  if (hasWill) {
    const block = version === 5 ? readProperties(reader.part(reader.varint()), willProperties) : noProperties;
    const topic = reader.text();
    will = { topic, payload: Buffer.from(reader.octets()), qos: willQos, retain: willRetain, properties: block };
  }
  const user = hasUser ? reader.text() : undefined;
  const password = hasPassword ? Buffer.from(reader.octets()) : undefined;
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

function versionOf(name: string, level: number): Version {
  if (name === 'MQTT' && (level === 4 || level === 5)) return level;
  if (name === 'MQIsdp' && level === 3) return 3;
  if (name === 'MQTT' || name === 'MQIsdp') throw new UnsupportedLevel(level);
  throw new ProtocolError(ReasonCode.unsupportedProtocolVersion, `protocol name '${name}'`); // [MQTT-3.1.2-1]
}
