import type { Terminal } from '../../src/cli/terminal.ts';

/** Remembers what is written to it, and has been typed what the test says. */
export class TestTerminal implements Terminal {
  readonly width = Number.POSITIVE_INFINITY;
  readonly interactive = false;
  out = '';
  err = '';
  private input: string;

  constructor(input = '') {
    this.input = input;
  }

  say(text: string): void {
    this.out += text;
  }

  complain(text: string): void {
    this.err += text;
  }

  async readAll(): Promise<string> {
    const all = this.input;
    this.input = '';
    return all;
  }

  async readLine(): Promise<string | undefined> {
    if (this.input === '') return undefined;
    const [line = '', ...rest] = this.input.split('\n');
    this.input = rest.join('\n');
    return line;
  }

  askSecret(): Promise<string> {
    throw new Error('nobody sits there');
  }
}
