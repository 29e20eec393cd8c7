import { decodeText } from '../../lib/bytes.ts';
import { AmqpError, ErrorCondition } from './errors.ts';
import { skipValue } from './types.ts';

/** The sections of a message by their descriptors [AMQP 1.0 §3.2], in the order in which they may come. */
export const SectionCode = {
  header: 0x70,
  deliveryAnnotations: 0x71,
  messageAnnotations: 0x72,
  properties: 0x73,
  applicationProperties: 0x74,
  data: 0x75,
  sequence: 0x76,
  value: 0x77,
  footer: 0x78,
} as const;

const codeOfSymbol = new Map<string, number>([
  ['amqp:header:list', SectionCode.header],
  ['amqp:delivery-annotations:map', SectionCode.deliveryAnnotations],
  ['amqp:message-annotations:map', SectionCode.messageAnnotations],
  ['amqp:properties:list', SectionCode.properties],
  ['amqp:application-properties:map', SectionCode.applicationProperties],
  ['amqp:data:binary', SectionCode.data],
  ['amqp:amqp-sequence:list', SectionCode.sequence],
  ['amqp:amqp-value:*', SectionCode.value],
  ['amqp:footer:map', SectionCode.footer],
]);

/** One data section of a body: its descriptor, constructor and size, and how many octets lie behind them. */
export interface Segment {
  readonly prefix: Buffer;
  readonly bytes: number;
}

/**
 * Where the sections of a message lie: offsets into the octets that were read last, −1 for what is absent. Values are
 * skipped, not decoded. An object of this class is used again and again.
 *
 *     [ header ][ delivery ann. ][ message ann. ][ properties ][ application pr. ][ body … ][ footer ]
 *     at        headerEnd        deliveryEnd     bareAt                           bodyAt    bodyEnd  end
 */
export class Sections {
  /** Of the values, behind their descriptors. */
  header = -1;
  deliveryAnnotations = -1;
  messageAnnotations = -1;
  properties = -1;
  applicationProperties = -1;
  footer = -1;
  /** Begin of the delivery annotations' section, and behind it. */
  deliveryAt = -1;
  deliveryEnd = -1;
  /** Begin of what is the bare message: what lies before may be changed on the way. */
  bareAt = 0;
  bodyAt = 0;
  bodyEnd = 0;
  end = 0;
  /** The octets of the only data section, if there is one alone. */
  dataStart = -1;
  dataEnd = -1;
  /** How often the body has a section, and of which kind. */
  bodySections = 0;
  bodyCode = 0;
  /** One data section with the shortest prefix, and nothing behind it. */
  plain = false;

  /** @throws AmqpError decode-error of the link's scope */
  read(bytes: Buffer, at: number, end: number): void {
    this.header = -1;
    this.deliveryAnnotations = -1;
    this.messageAnnotations = -1;
    this.properties = -1;
    this.applicationProperties = -1;
    this.footer = -1;
    this.deliveryAt = -1;
    this.deliveryEnd = -1;
    this.bareAt = at;
    this.bodyAt = -1;
    this.bodyEnd = -1;
    this.dataStart = -1;
    this.dataEnd = -1;
    this.bodySections = 0;
    this.bodyCode = 0;
    this.plain = false;
    this.end = end;
    let last = 0;
    while (at < end) {
      let code = 0;
      let valueAt = at + 3;
      if (at + 3 < end && bytes[at] === 0 && bytes[at + 1] === 0x53) code = bytes[at + 2]!;
      else {
        code = readDescriptor(bytes, at, end);
        valueAt = skipValue(bytes, at + 1, end);
      }
      const next = skipValue(bytes, valueAt, end);
      this.note(code, last, bytes, at, valueAt, next);
      last = code;
      at = next;
    }
    if (this.bodyAt < 0) {
      this.bodyAt = this.footer < 0 ? end : this.bodyEnd;
      this.bodyEnd = this.bodyAt;
    }
  }

  private note(code: number, last: number, bytes: Buffer, at: number, valueAt: number, next: number): void {
    const isRepeated = code === last && (code === SectionCode.data || code === SectionCode.sequence);
    const isSecondBody = last >= SectionCode.data && last <= SectionCode.value && code <= SectionCode.value;
    if ((code <= last || isSecondBody) && !isRepeated)
      throw malformed(`section 0x${code.toString(16)} is out of order`);
    switch (code) {
      case SectionCode.header:
        demandList(bytes[valueAt]!);
        this.header = valueAt;
        this.bareAt = next;
        return;
      case SectionCode.deliveryAnnotations:
        demandMap(bytes[valueAt]!);
        this.deliveryAnnotations = valueAt;
        this.deliveryAt = at;
        this.deliveryEnd = next;
        this.bareAt = next;
        return;
      case SectionCode.messageAnnotations:
        demandMap(bytes[valueAt]!);
        this.messageAnnotations = valueAt;
        this.bareAt = next;
        return;
      case SectionCode.properties:
        demandList(bytes[valueAt]!);
        this.properties = valueAt;
        return;
      case SectionCode.applicationProperties:
        demandMap(bytes[valueAt]!);
        this.applicationProperties = valueAt;
        return;
      case SectionCode.footer:
        demandMap(bytes[valueAt]!);
        if (this.bodyAt < 0) this.bodyEnd = at;
        this.footer = valueAt;
        this.plain = false;
        return;
      case SectionCode.data:
      case SectionCode.sequence:
      case SectionCode.value:
        this.noteBody(code, bytes, at, valueAt, next);
        return;
      default:
        throw malformed(`unknown section 0x${code.toString(16)}`);
    }
  }

  private noteBody(code: number, bytes: Buffer, at: number, valueAt: number, next: number): void {
    if (this.bodyAt < 0) this.bodyAt = at;
    this.bodyEnd = next;
    this.bodyCode = code;
    this.bodySections += 1;
    this.plain = false;
    if (code === SectionCode.sequence) demandList(bytes[valueAt]!);
    if (code !== SectionCode.data) return;
    const form = bytes[valueAt]!;
    if (form !== 0xa0 && form !== 0xb0) throw malformed('a data section is not binary');
    if (this.bodySections > 1) {
      this.dataStart = -1;
      return;
    }
    this.dataStart = valueAt + (form === 0xa0 ? 2 : 5);
    this.dataEnd = next;
    const isShortest = next - this.dataStart > 255 === (form === 0xb0);
    this.plain = valueAt === at + 3 && isShortest;
  }

  /** The data sections of the body one by one; to be asked only when there are such alone. */
  segments(bytes: Buffer): Segment[] {
    const segments: Segment[] = [];
    for (let at = this.bodyAt; at < this.bodyEnd; ) {
      const valueAt = skipValue(bytes, at + 1, this.bodyEnd);
      const next = skipValue(bytes, valueAt, this.bodyEnd);
      const start = valueAt + (bytes[valueAt] === 0xa0 ? 2 : 5);
      segments.push({ prefix: Buffer.from(bytes.subarray(at, start)), bytes: next - start });
      at = next;
    }
    return segments;
  }
}

function readDescriptor(bytes: Buffer, at: number, end: number): number {
  if (bytes[at] !== 0) throw malformed('a section is not described');
  const next = skipValue(bytes, at + 1, end);
  switch (bytes[at + 1]) {
    case 0x53:
      return bytes[at + 2]!;
    case 0x80: {
      const code = bytes.readBigUInt64BE(at + 2);
      return code > 0xffn ? 0 : Number(code);
    }
    case 0xa3:
      return codeOfSymbol.get(decodeText(bytes, at + 3, next)) ?? 0;
    default:
      return 0;
  }
}

function demandList(form: number): void {
  if (form !== 0x45 && form !== 0xc0 && form !== 0xd0) throw malformed('a section is not a list');
}

function demandMap(form: number): void {
  if (form !== 0xc1 && form !== 0xd1) throw malformed('a section is not a map');
}

function malformed(text: string): AmqpError {
  return new AmqpError(ErrorCondition.decodeError, 'link', text);
}

/** The items of a list at `at`: how many, and where the first begins. */
export class ListCursor {
  count = 0;
  at = 0;
  end = 0;

  open(bytes: Buffer, at: number): void {
    switch (bytes[at]) {
      case 0xc0:
        this.end = at + 2 + bytes[at + 1]!;
        this.count = bytes[at + 2]!;
        this.at = at + 3;
        break;
      case 0xd0:
        this.end = at + 5 + bytes.readUInt32BE(at + 1);
        this.count = bytes.readUInt32BE(at + 5);
        this.at = at + 9;
        break;
      default:
        this.end = at + 1;
        this.count = 0;
        this.at = at + 1;
    }
  }

  /** Passes over `items` of them. */
  skip(bytes: Buffer, items: number): void {
    for (let i = 0; i < items; i++) this.at = skipValue(bytes, this.at, this.end);
    this.count -= items;
  }
}

const list = new ListCursor();

/** What routing must know of a message, read by offset and used again for the next one. */
export class RoutingFacts {
  durable = false;
  /** −1 when the publisher gave none. */
  priority = -1;
  /** −1: it does not expire. */
  ttlMs = -1;
  /** Milliseconds since the epoch, 0 = none. */
  absoluteExpiryMs = 0;
  /** Where the properties' user-id begins, −1 when there is none. */
  userIdAt = -1;

  /** @throws AmqpError when a field is not of its type */
  read(bytes: Buffer, sections: Sections): void {
    this.durable = false;
    this.priority = -1;
    this.ttlMs = -1;
    this.absoluteExpiryMs = 0;
    this.userIdAt = -1;
    if (sections.header >= 0) this.readHeader(bytes, sections.header);
    if (sections.properties >= 0) this.readProperties(bytes, sections.properties);
  }

  private readHeader(bytes: Buffer, at: number): void {
    list.open(bytes, at);
    if (list.count === 0) return;
    const durable = bytes[list.at]!;
    this.durable = durable === 0x41 || (durable === 0x56 && bytes[list.at + 1] === 1);
    list.skip(bytes, 1);
    if (list.count === 0) return;
    if (bytes[list.at] === 0x50) this.priority = bytes[list.at + 1]!;
    list.skip(bytes, 1);
    if (list.count === 0) return;
    this.ttlMs = readUint(bytes, list.at);
  }

  private readProperties(bytes: Buffer, at: number): void {
    list.open(bytes, at);
    if (list.count < 2) return;
    list.skip(bytes, 1);
    if (bytes[list.at] !== 0x40) this.userIdAt = list.at;
    if (list.count < 8) return; // without absolute-expiry-time, the ninth field
    list.skip(bytes, 7);
    if (bytes[list.at] === 0x83) this.absoluteExpiryMs = Number(bytes.readBigInt64BE(list.at + 1));
  }
}

/** A uint by any of its constructors; −1 for null and for other types. */
export function readUint(bytes: Buffer, at: number): number {
  switch (bytes[at]) {
    case 0x43:
      return 0;
    case 0x52:
      return bytes[at + 1]!;
    case 0x70:
      return bytes.readUInt32BE(at + 1);
    default:
      return -1;
  }
}

/** Text of one field of the properties section; undefined when it is absent or no text. */
export function findText(bytes: Buffer, sections: Sections, field: 'to' | 'subject'): string | undefined {
  if (sections.properties < 0) return undefined;
  list.open(bytes, sections.properties);
  const index = field === 'to' ? 2 : 3;
  if (list.count <= index) return undefined;
  list.skip(bytes, index);
  const { at } = list;
  if (bytes[at] === 0xa1) return decodeText(bytes, at + 2, at + 2 + bytes[at + 1]!);
  if (bytes[at] === 0xb1) return decodeText(bytes, at + 5, at + 5 + bytes.readUInt32BE(at + 1));
  return undefined;
}

/** True if the octets are body sections, of one kind, and nothing else. */
export function isBody(octets: Buffer): boolean {
  if (octets.length === 0) return false;
  const sections = new Sections();
  try {
    sections.read(octets, 0, octets.length);
  } catch {
    return false;
  }
  return sections.bodyAt === 0 && sections.bodyEnd === octets.length;
}
