import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { Duplex, type Duplex as Socket } from 'node:stream';
import { type RawData, WebSocket, WebSocketServer } from 'ws';

export interface WebSocketOptions {
  readonly path: string;
  /** Subprotocols, the best first; a client that names none is let in all the same. */
  readonly subprotocols: readonly string[];
  /** Octets of a WebSocket message: a frame of the protocol may fill one. */
  readonly messageBytes: number;
  /** STOMP's clients in browsers want text, and send either; MQTT's want binary, and may send nothing else [MQTT-6.0.0-1]. */
  readonly frames: 'binary' | 'text';
}

/** Takes upgrades of an HTTP server and hands out each connection as a plain stream of octets. */
export class WebSocketDoor {
  private readonly wss: WebSocketServer;
  private readonly options: WebSocketOptions;
  private readonly accept: (duplex: Duplex, request: IncomingMessage) => void;

  constructor(options: WebSocketOptions, accept: (duplex: Duplex, request: IncomingMessage) => void) {
    this.options = options;
    this.accept = accept;
    this.wss = new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      maxPayload: options.messageBytes,
      handleProtocols: (offered) => options.subprotocols.find((each) => offered.has(each)) ?? false,
    });
  }

  onUpgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    const path = (request.url ?? '').split('?')[0];
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((each) => each.trim());
    if (path !== this.options.path) return refuse(socket, '404 Not Found');
    // [RFC 6455 §4.1] a client that offers subprotocols fails when none of them is chosen: it is told at once
    if (offered[0] !== '' && !offered.some((each) => this.options.subprotocols.includes(each))) {
      return refuse(socket, '400 Bad Request');
    }
    socket.on('error', () => {}); // what befalls it before it is a WebSocket concerns nobody
    this.wss.handleUpgrade(request, socket, head, (webSocket) =>
      this.accept(new WebSocketDuplex(webSocket, this.options.frames === 'text'), request),
    );
  }
}

function refuse(socket: Socket, status: string): void {
  socket.on('error', () => {});
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}

const highWaterMark = 1024 * 1024;
/** [RFC 6455 §7.4.1] */
const unsupportedData = 1003;

/** Octets over a WebSocket: where its messages begin and end means nothing [MQTT-6.0.0-2]. */
class WebSocketDuplex extends Duplex {
  private readonly webSocket: WebSocket;
  private readonly text: boolean;

  constructor(webSocket: WebSocket, text: boolean) {
    super({ highWaterMark, allowHalfOpen: true });
    this.webSocket = webSocket;
    this.text = text;
    webSocket.binaryType = 'nodebuffer';
    webSocket.on('message', (data: RawData, isBinary: boolean) => {
      if (webSocket.readyState !== WebSocket.OPEN) return;
      if (!isBinary && !text) webSocket.close(unsupportedData);
      else if (!this.push(data as Buffer)) webSocket.pause();
    });
    webSocket.on('close', () => {
      if (!this.readableEnded) this.push(null);
      this.destroy();
    });
    webSocket.on('error', (error: Error) => this.destroy(error));
  }

  override _read(): void {
    if (this.webSocket.isPaused) this.webSocket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.webSocket.readyState !== WebSocket.OPEN) return done();
    // Text that is not UTF-8 (a body of octets) cannot go as text.
    const binary = !this.text || !isUtf8(chunk);
    this.webSocket.send(chunk, { binary }, (error) => done(error));
  }

  override _final(done: (error?: Error | null) => void): void {
    this.webSocket.close(1000);
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.webSocket.terminate();
    done(error);
  }
}
