import { packet } from './encode.ts';
import { PacketType, type Version } from './packet.ts';
import { PropertyId, PropertyWriter } from './properties.ts';
import { type ReasonCode, returnCodeOf } from './reason-code.ts';

/** Packets that answer a client or end its connection, whole and in buffers of their own. */

/** Who is answered: how, and with how much. */
export interface Listener {
  readonly version: Version;
  /** Octets of a packet that it takes. */
  readonly packetMax: number;
  /** Reason strings are welcome [MQTT-3.1.2-29]. */
  readonly problemInformation: boolean;
}

const noBlock = new PropertyWriter().endBlock();

/** @param properties a block with its length, for 5.0 */
export function connack(version: Version, present: boolean, properties: Buffer): Buffer {
  if (version === 3) return Buffer.from([PacketType.connack << 4, 2, 0, 0]); // 3.1 reserves the octet [MQTT 3.1 §3.2]
  if (version === 4) return Buffer.from([PacketType.connack << 4, 2, present ? 1 : 0, 0]);
  return packet(PacketType.connack << 4, Buffer.from([present ? 1 : 0, 0]), properties);
}

/**
 * A CONNACK that refuses, with its reason where it has a place [MQTT-3.2.2-19].
 * @returns null where the version has no word for it
 */
export function refusal(listener: Listener, code: ReasonCode, reason: string): Buffer | null {
  if (listener.version < 5) {
    const returnCode = returnCodeOf(code);
    return returnCode === null ? null : Buffer.from([PacketType.connack << 4, 2, 0, returnCode]);
  }
  return withReason(listener, PacketType.connack << 4, Buffer.from([0, code]), reason);
}

/** @returns null before 5.0, which has no DISCONNECT from a server */
export function disconnect(listener: Listener, code: ReasonCode, reason: string): Buffer | null {
  if (listener.version < 5) return null;
  return withReason(listener, PacketType.disconnect << 4, Buffer.from([code]), reason);
}

// [MQTT-3.14.2-3] what does not fit is left out
function withReason({ packetMax, problemInformation }: Listener, head: number, fields: Buffer, reason: string): Buffer {
  const properties = new PropertyWriter().text(PropertyId.reasonString, reason.slice(0, reasonMax)).endBlock();
  const told = packet(head, fields, properties);
  return problemInformation && told.length <= packetMax ? told : packet(head, fields, noBlock);
}

const reasonMax = 1000;

export function suback(version: Version, packetId: number, codes: readonly number[]): Buffer {
  return listed(PacketType.suback << 4, packetId, version === 5 ? [0, ...codes] : codes);
}

/** @param codes of which versions before 5.0 are told nothing */
export function unsuback(version: Version, packetId: number, codes: readonly number[]): Buffer {
  return listed(PacketType.unsuback << 4, packetId, version === 5 ? [0, ...codes] : []);
}

function listed(head: number, packetId: number, octets: readonly number[]): Buffer {
  return packet(head, Buffer.from([packetId >> 8, packetId & 0xff, ...octets]));
}

export function auth(code: ReasonCode, method: string, data: Buffer): Buffer {
  const properties = new PropertyWriter().text(PropertyId.authenticationMethod, method);
  if (data.length > 0) properties.octets(PropertyId.authenticationData, data);
  return packet(PacketType.auth << 4, Buffer.from([code]), properties.endBlock());
}
