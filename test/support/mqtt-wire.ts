/** MQTT packets by hand, right or wrong. */

export function octets(hex: string): Buffer {
  return Buffer.from(hex.replaceAll(' ', ''), 'hex');
}

/** A string or binary data behind its length. */
export function text(value: string | Buffer): Buffer {
  const bytes = Buffer.from(value as string);
  return Buffer.concat([short(bytes.length), bytes]);
}

export function short(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}

/** A packet with its remaining length. */
export function packet(first: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([first]), varint(body.length), body]);
}

export function varint(value: number): Buffer {
  const out: number[] = [];
  do {
    const more = value > 127;
    out.push((value & 127) | (more ? 128 : 0));
    value >>>= 7;
  } while (value > 0);
  return Buffer.from(out);
}

export const ConnectFlag = { clean: 2, will: 4, willRetain: 0x20, password: 0x40, user: 0x80 } as const;

export interface ConnectOctets {
  readonly name?: string;
  readonly level?: number;
  readonly flags?: number;
  readonly keepAlive?: number;
  /** Without their length; of 5.0. */
  readonly properties?: Buffer;
  /** Client id, will, user name and password, as they are to be. */
  readonly payload?: readonly Buffer[];
}

/** CONNECT as guest with clean start, where nothing else is said. */
export function connectOctets(version: number, options: ConnectOctets = {}): Buffer {
  const properties = options.properties ?? Buffer.alloc(0);
  const level = options.level ?? version;
  return packet(
    0x10,
    text(options.name ?? (version === 3 ? 'MQIsdp' : 'MQTT')),
    Buffer.from([level, options.flags ?? ConnectFlag.clean | ConnectFlag.user | ConnectFlag.password]),
    short(options.keepAlive ?? 0),
    ...(version === 5 ? [varint(properties.length), properties] : []),
    ...(options.payload ?? [text('id'), text('guest'), text('guest')]),
  );
}
