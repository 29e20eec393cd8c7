import type { Message } from '../../core/message.ts';
import { copyBytes, emptyBuffer } from '../../lib/bytes.ts';
import {
  amqp10Format,
  exchangeAnnotation,
  hasShape,
  isBrokerAnnotation,
  readMap,
  readShape,
  routingKeyAnnotation,
  type Shape,
} from './message.ts';
import { isBody, SectionCode, Sections } from './sections.ts';
import { encodeMap, encodeValue, symbol, textOf } from './types.ts';

/** What a delivery says of itself in its header section [AMQP 1.0 §3.2.1]. */
export interface DeliveryFacts {
  readonly redelivered: boolean;
  readonly deliveryCount: number;
}

/** The annotations that the broker adds: where the message was published to. */
export class AddressAnnotations {
  exchange = '';
  routingKey = '';
  /** A whole section for messages without annotations of their own. */
  section: Buffer = emptyBuffer;
  private pairs: readonly (readonly [Buffer, Buffer])[] = [];

  constructor() {
    this.set('', '');
  }

  set(exchange: string, routingKey: string): void {
    this.exchange = exchange;
    this.routingKey = routingKey;
    this.pairs = [
      [exchangeKey, encodeValue(exchange)],
      [routingKeyKey, encodeValue(routingKey)],
    ];
    this.section = annotationSection(this.pairs);
  }

  /** With the publisher's own in front. */
  join(bytes: Buffer, at: number): Buffer {
    const own = readMap(bytes, at)
      .filter(([key]) => !isBrokerAnnotation(textOf(key)))
      .map(([key, value]) => [encodeValue(key), encodeValue(value)] as const);
    return annotationSection([...own, ...this.pairs]);
  }
}

const exchangeKey = encodeValue(symbol(exchangeAnnotation));
const routingKeyKey = encodeValue(symbol(routingKeyAnnotation));

function annotationSection(pairs: readonly (readonly [Buffer, Buffer])[]): Buffer {
  return Buffer.concat([Buffer.from([0, 0x53, SectionCode.messageAnnotations]), encodeMap(pairs)]);
}

const sections = new Sections();

/**
 * A message as it leaves: the header is written anew, the annotations are completed, and the bare message is copied
 * octet for octet. One object is prepared and written for each delivery in turn.
 *
 *     [ header ][ delivery ann. ][ annotations ][ native, from where it is bare ][ data prefix ][ body ]
 */
export class Payload {
  bytes = 0;
  private readonly header = Buffer.alloc(32);
  private headerBytes = 0;
  private deliveryStart = 0;
  private deliveryEnd = 0;
  private annotations: Buffer = emptyBuffer;
  private native: Buffer = emptyBuffer;
  private bareStart = 0;
  private bareEnd = 0;
  private prefixBytes = 0;
  private message: Message | null = null;
  /** The octets from the bare message on, for bodies of several sections, with values, or with a footer. */
  private shaped: Buffer | null = null;

  /** @returns how many octets `write` will write */
  prepare(message: Message, facts: DeliveryFacts, address: AddressAnnotations, nowMs: number): number {
    this.message = message;
    if (message.format === amqp10Format && message.deaths.length === 0) {
      this.native = message.bytes;
      this.bareStart = message.nativeStart;
      this.bareEnd = message.nativeEnd;
    } else {
      this.native = message.as(amqp10Format);
      this.bareStart = 0;
      this.bareEnd = this.native.length;
    }
    this.shaped = null;
    this.deliveryStart = 0;
    this.deliveryEnd = 0;
    this.annotations = address.section;
    this.writeHeader(message, facts, nowMs);
    const { bodyBytes } = message;
    this.prefixBytes = bodyBytes <= 255 ? 5 : 8;
    if (!this.findBare()) this.findSections(address);
    this.bytes = this.headerBytes + this.deliveryEnd - this.deliveryStart + this.annotations.length;
    const shaped = this.shaped as Buffer | null; // findSections may have made it
    this.bytes += shaped === null ? this.bareEnd - this.bareStart + this.prefixBytes + bodyBytes : shaped.length;
    return this.bytes;
  }

  /** Nothing is kept: the message may be a view into what was read. @returns the offset behind what was written */
  write(out: Buffer, at: number): number {
    const message = this.message!;
    const { shaped } = this;
    at = this.writeHead(out, at);
    if (shaped !== null) return at + shaped.copy(out, at);
    copyBytes(message.bytes, message.bodyStart, message.bodyEnd, out, at);
    return at + message.bodyBytes;
  }

  /** Octets at the end that are the message's body as it lies in its bytes; 0: they are written in another shape. */
  get bodyBytes(): number {
    return this.shaped === null ? this.message!.bodyBytes : 0;
  }

  /** What is in front of the body. @returns the offset behind it */
  writeHead(out: Buffer, at: number): number {
    const message = this.message!;
    const { native } = this;
    copyBytes(this.header, 0, this.headerBytes, out, at);
    at += this.headerBytes;
    if (this.deliveryEnd > this.deliveryStart) {
      native.copy(out, at, this.deliveryStart, this.deliveryEnd);
      at += this.deliveryEnd - this.deliveryStart;
    }
    copyBytes(this.annotations, 0, this.annotations.length, out, at);
    at += this.annotations.length;
    if (this.shaped === null) {
      copyBytes(native, this.bareStart, this.bareEnd, out, at);
      at += this.bareEnd - this.bareStart;
      at = writeDataPrefix(out, at, message.bodyBytes);
    }
    this.message = null;
    return at;
  }

  // Fast for what begins with a header or with the bare message; false: the sections have to be looked for.
  private findBare(): boolean {
    const { native, bareEnd } = this;
    let at = this.bareStart;
    if (at === bareEnd) return true;
    if (native[at] !== 0 || native[at + 1] !== 0x53) return false;
    if (native[at + 2] === SectionCode.header) {
      const form = native[at + 3];
      if (form === 0x45) at += 4;
      else if (form === 0xc0) at += 5 + native[at + 4]!;
      else return false;
      if (at === bareEnd) {
        this.bareStart = at;
        return true;
      }
      if (native[at] !== 0 || native[at + 1] !== 0x53) return false;
    }
    const code = native[at + 2]!;
    if (code < SectionCode.properties || code > SectionCode.applicationProperties) return false;
    this.bareStart = at;
    return true;
  }

  private findSections(address: AddressAnnotations): void {
    const { native, bareEnd } = this;
    const message = this.message!;
    let start = this.bareStart;
    let shape: Shape | null = null;
    if (hasShape(native, start, bareEnd)) {
      shape = readShape(native.subarray(start, bareEnd));
      start += shape!.bytes;
    }
    sections.read(native, start, bareEnd);
    if (sections.deliveryAt >= 0) {
      this.deliveryStart = sections.deliveryAt;
      this.deliveryEnd = sections.deliveryEnd;
    }
    if (sections.messageAnnotations >= 0) this.annotations = address.join(native, sections.messageAnnotations);
    this.bareStart = sections.bareAt;
    if (shape !== null) {
      const bare = native.subarray(sections.bareAt, bareEnd);
      this.shaped = Buffer.concat([bare, ...bodySections(shape, message), shape.footer]);
    }
  }

  private writeHeader(message: Message, { redelivered, deliveryCount }: DeliveryFacts, nowMs: number): void {
    const { header } = this;
    const { priority, expiresAtMs } = message;
    header[0] = 0;
    header[1] = 0x53;
    header[2] = SectionCode.header;
    header[3] = 0xc0;
    let at = 6;
    header[at++] = message.durable ? 0x41 : 0x42;
    if (priority < 0) header[at++] = 0x40;
    else {
      header[at++] = 0x50;
      header[at++] = priority;
    }
    if (expiresAtMs === 0) header[at++] = 0x40;
    else {
      header[at++] = 0x70;
      at = header.writeUInt32BE(Math.min(Math.max(expiresAtMs - nowMs, 0), 0xffff_ffff), at);
    }
    header[at++] = redelivered ? 0x42 : 0x41; // first-acquirer
    header[5] = 4;
    if (deliveryCount > 0) {
      header[5] = 5;
      header[at++] = 0x70;
      at = header.writeUInt32BE(deliveryCount, at);
    }
    header[4] = at - 5;
    this.headerBytes = at;
  }
}

function writeDataPrefix(out: Buffer, at: number, bytes: number): number {
  out[at] = 0;
  out[at + 1] = 0x53;
  out[at + 2] = SectionCode.data;
  if (bytes <= 255) {
    out[at + 3] = 0xa0;
    out[at + 4] = bytes;
    return at + 5;
  }
  out[at + 3] = 0xb0;
  out.writeUInt32BE(bytes, at + 4);
  return at + 8;
}

// What came through another protocol may say what is not so: then the body is what it is, octets.
function bodySections(shape: Shape, message: Message): Buffer[] {
  const { body } = message;
  if (shape.kind === 'encoded') {
    if (body.length === 0 || message.format === amqp10Format || isBody(body)) return [body];
  } else {
    const announced = shape.segments.reduce((sum, { bytes }) => sum + bytes, 0);
    if (announced === body.length && shape.segments.length > 0) {
      let at = 0;
      return shape.segments.flatMap(({ prefix, bytes }) => {
        at += bytes;
        return [prefix, body.subarray(at - bytes, at)];
      });
    }
  }
  const prefix = Buffer.alloc(8);
  return [prefix.subarray(0, writeDataPrefix(prefix, 0, body.length)), body];
}
