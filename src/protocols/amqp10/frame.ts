import { encodePerformative, type Name, type Values } from './performatives.ts';

/**
 * Frames [AMQP 1.0 §2.3]: an extended header may lie between the eight octets and the body.
 *
 *     │ size u32 │ doff u8 │ type u8 │ channel u16 │ … to doff × 4 │ performative │ payload … to size │
 */
export const FrameType = { amqp: 0, sasl: 1 } as const;
export const frameHeadBytes = 8;
/** What any peer must take [§2.4.1]. */
export const frameMinBytes = 512;

/** The header of each protocol id: 0 is AMQP itself, 3 SASL. */
export const protocolHeaders = {
  amqp: Buffer.from('AMQP\x00\x01\x00\x00', 'latin1'),
  sasl: Buffer.from('AMQP\x03\x01\x00\x00', 'latin1'),
} as const;

/** A frame without a body: it says that its sender is alive. */
export const heartbeatFrame = Buffer.from([0, 0, 0, 8, 2, FrameType.amqp, 0, 0]);

export function encodeFrame<N extends Name>(channel: number, name: N, values: Values<N>, payload?: Buffer): Buffer {
  return frameOf(FrameType.amqp, channel, encodePerformative(name, values), payload);
}

export function encodeSaslFrame<N extends Name>(name: N, values: Values<N>): Buffer {
  return frameOf(FrameType.sasl, 0, encodePerformative(name, values));
}

function frameOf(type: number, channel: number, performative: Buffer, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(frameHeadBytes);
  head.writeUInt32BE(frameHeadBytes + performative.length + payload.length);
  head[4] = 2;
  head[5] = type;
  head.writeUInt16BE(channel, 6);
  return Buffer.concat([head, performative, payload]);
}
