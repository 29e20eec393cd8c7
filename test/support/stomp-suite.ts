import { afterAll, afterEach, beforeAll } from 'vitest';
import { type BrokerOptions, BrokerProcess } from './broker-process.ts';
import { StompWire } from './stomp-wire.ts';

/** The broker of one file of tests, and the connections of one test, which go with it. */
export interface StompSuite {
  readonly broker: BrokerProcess;
  open(): Promise<StompWire>;
  login(version?: string, headers?: Readonly<Record<string, string>>): Promise<StompWire>;
  /** One that no other test has. */
  name(): string;
}

export function useStomp(options: BrokerOptions = {}): StompSuite {
  let broker: BrokerProcess;
  const wires: StompWire[] = [];
  let unique = 0;
  beforeAll(async () => {
    broker = await BrokerProcess.start(options);
  });
  afterAll(async () => {
    await broker?.remove();
  });
  afterEach(() => {
    for (const wire of wires.splice(0)) wire.destroy();
  });
  const kept = (wire: StompWire): StompWire => {
    wires.push(wire);
    return wire;
  };
  return {
    get broker() {
      return broker;
    },
    open: async () => kept(await StompWire.open(broker.port('stomp'))),
    login: async (version, headers) => kept(await StompWire.login(broker.port('stomp'), version, headers)),
    name() {
      unique += 1;
      return `name-${unique}`;
    },
  };
}
