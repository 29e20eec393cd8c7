import { connect, type Socket } from 'node:net';
import type { IStompSocket } from '@stomp/stompjs';

/** A TCP connection that looks like a WebSocket, as far as @stomp/stompjs asks for one. */
export class TcpWebSocket implements IStompSocket {
  readonly url: string;
  readyState = 0;
  binaryType: 'arraybuffer' = 'arraybuffer';
  onopen: IStompSocket['onopen'] = null;
  onclose: IStompSocket['onclose'] = null;
  onerror: IStompSocket['onerror'] = null;
  onmessage: IStompSocket['onmessage'] = null;
  private readonly socket: Socket;

  constructor(port: number) {
    this.url = `tcp://127.0.0.1:${port}`;
    this.socket = connect(port, '127.0.0.1', () => {
      this.readyState = 1;
      this.onopen?.({} as Event);
    });
    this.socket.on('data', (chunk) => {
      const data = chunk.buffer.slice(chunk.byteOffset, chunk.byteOffset + chunk.length) as ArrayBuffer;
      this.onmessage?.({ data } as MessageEvent);
    });
    this.socket.on('error', (error) => this.onerror?.(error));
    this.socket.on('close', () => {
      this.readyState = 3;
      this.onclose?.({ code: 1000, reason: '', wasClean: true } as CloseEvent);
    });
  }

  send(data: string | ArrayBuffer): void {
    this.socket.write(typeof data === 'string' ? data : Buffer.from(data));
  }

  close(): void {
    this.readyState = 2;
    this.socket.end();
  }
}
