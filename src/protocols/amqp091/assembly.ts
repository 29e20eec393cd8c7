import { emptyBuffer } from '../../lib/bytes.ts';
import { ProtocolError } from './errors.ts';
import type { Arguments } from './methods.ts';
import { methods, ReplyCode } from './spec.ts';

/** A publish whose content comes in frames of its own [AMQP 0-9-1 §4.2.6]. */
export class Assembly {
  readonly exchange: string;
  readonly routingKey: string;
  readonly mandatory: boolean;
  nativeBytes = 0;
  /** −1 until the content header has come. */
  private bodyBytes = -1;
  private received = 0;
  private buffer: Buffer = emptyBuffer;

  constructor(method: Arguments) {
    this.exchange = method.text('exchange');
    this.routingKey = method.text('routingKey');
    this.mandatory = method.bit('mandatory');
  }

  /** The property list, then the body, in a buffer of their own; once the content is whole. */
  get bytes(): Buffer {
    return this.buffer;
  }

  /**
   * @returns true when the content is whole
   * @throws ProtocolError 505 when it is not due or not of basic, 406 for a body of more octets than `bodyBytesMax`
   */
  onHeader(payload: Buffer, bodyBytesMax: number): boolean {
    if (this.bodyBytes >= 0) throw expectedBody();
    if (payload.length < 14) throw new ProtocolError(ReplyCode.syntaxError, 'content header is cut');
    if (payload.readUInt16BE(2) !== 0) throw expectedHeader(); // [AMQP 0-9-1 §4.2.6.1] the weight
    if (payload.readUInt16BE(0) !== methods.basicPublish.classId) {
      throw new ProtocolError(
        ReplyCode.unexpectedFrame,
        `expected content header for class 60, got one for class ${payload.readUInt16BE(0)} instead`,
      );
    }
    const bodyBytes = payload.readUInt32BE(4) * 0x1_0000_0000 + payload.readUInt32BE(8);
    if (bodyBytes > bodyBytesMax) {
      throw new ProtocolError(
        ReplyCode.preconditionFailed,
        `message size ${bodyBytes} is larger than configured max size ${bodyBytesMax}`,
      );
    }
    this.buffer = Buffer.from(payload.subarray(12));
    this.nativeBytes = this.buffer.length;
    this.bodyBytes = bodyBytes;
    return bodyBytes === 0;
  }

  /**
   * @returns true when the content is whole
   * @throws ProtocolError 505 when it is not due, or more than was announced
   */
  onBody(payload: Buffer): boolean {
    if (this.bodyBytes < 0) throw expectedHeader();
    if (this.received + payload.length > this.bodyBytes) {
      throw new ProtocolError(ReplyCode.unexpectedFrame, 'body frames exceed the announced body size');
    }
    const at = this.nativeBytes + this.received;
    const needed = at + payload.length;
    if (needed > this.buffer.length) {
      // Grows with what comes: an announced size alone takes no memory.
      const whole = this.nativeBytes + this.bodyBytes;
      const grown = Buffer.allocUnsafeSlow(Math.min(whole, Math.max(needed, 2 * this.buffer.length)));
      this.buffer.copy(grown, 0, 0, at);
      this.buffer = grown;
    }
    payload.copy(this.buffer, at);
    this.received += payload.length;
    return this.received === this.bodyBytes;
  }

  /** What another frame is answered with that came where content was due. */
  interrupted(): ProtocolError {
    return this.bodyBytes < 0 ? expectedHeader() : expectedBody();
  }
}

function expectedHeader(): ProtocolError {
  return new ProtocolError(
    ReplyCode.unexpectedFrame,
    'expected content header for class 60, got non content header frame instead',
  );
}

function expectedBody(): ProtocolError {
  return new ProtocolError(ReplyCode.unexpectedFrame, 'expected content body, got non content body frame instead');
}
