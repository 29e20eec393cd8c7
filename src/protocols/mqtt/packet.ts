/** Control packets [MQTT 5.0 §2.1.2]; the type is the high nibble of the first octet. */
export const PacketType = {
  connect: 1,
  connack: 2,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  suback: 9,
  unsubscribe: 10,
  unsuback: 11,
  pingreq: 12,
  pingresp: 13,
  disconnect: 14,
  auth: 15,
} as const;

/** The first octet of packets whose flags are fixed. */
export const Head = {
  puback: 0x40,
  pubrec: 0x50,
  pubrel: 0x62,
  pubcomp: 0x70,
} as const;

/** Octets behind the fixed header, at most [MQTT 5.0 §2.1.4]. */
export const remainingMax = 268_435_455;

/** Protocol levels: 3 = MQTT 3.1, 4 = 3.1.1, 5 = 5.0. */
export type Version = 3 | 4 | 5;

export const pingresp = Buffer.from([PacketType.pingresp << 4, 0]);
