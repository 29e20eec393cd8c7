import { BrokerProcess } from './broker-process.ts';

/** A broker whose process ends and comes back: on the same port of MQTT, with the same data. */
export class MortalBroker {
  readonly port: number;
  readonly webSocketPort: number;
  private process: BrokerProcess;
  private readonly first: BrokerProcess;

  private constructor(process: BrokerProcess) {
    this.first = process;
    this.process = process;
    this.port = process.port('mqtt');
    this.webSocketPort = process.port('mqttWs');
  }

  static async start(): Promise<MortalBroker> {
    return new MortalBroker(await BrokerProcess.start());
  }

  /** @param signal SIGKILL leaves it no time for anything */
  async restart(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    if (signal === 'SIGKILL') await this.process.kill();
    else await this.process.stop();
    const ports = [`listeners.mqtt.port=${this.port}`, `listeners.mqttWs.port=${this.webSocketPort}`];
    const args = ports.flatMap((port) => ['--set', port]);
    this.process = await BrokerProcess.start({ dataDir: this.first.dataDir, args });
  }

  async remove(): Promise<void> {
    await this.process.stop();
    await this.first.remove();
  }
}
