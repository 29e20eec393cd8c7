declare module 'stompit' {
  import type { Socket } from 'node:net';
  import type { Readable, Writable } from 'node:stream';

  namespace stompit {
    interface Frame extends Readable {
      readonly headers: Record<string, string>;
    }
    interface SendOptions {
      onReceipt?(): void;
      onError?(error: Error): void;
    }
    interface Transaction {
      send(headers: Record<string, string>): Writable;
      abort(): void;
      commit(): void;
    }
    interface Client {
      begin(): Transaction;
      send(headers: Record<string, string>, options?: SendOptions): Writable;
      subscribe(headers: Record<string, string>, listener: (error: Error | null, message: Frame) => void): unknown;
      ack(message: Frame): void;
      nack(message: Frame): void;
      disconnect(done?: (error: Error | null) => void): void;
      destroy(): void;
      getTransportSocket(): Socket;
      on(event: 'error', listener: (error: Error) => void): void;
    }
    function connect(options: object, done: (error: Error | null, client: Client) => void): void;
  }
  export default stompit;
}
