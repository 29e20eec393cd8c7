import type { Journal, Recovered } from './journal.ts';

/** A runtime parameter of a virtual host, as RabbitMQ's definitions have them: a value that some component reads. */
export interface Parameter {
  readonly vhost: string;
  readonly component: string;
  readonly name: string;
  /** Anything that JSON can say. */
  readonly value: unknown;
}

const kind = 'parameter';
const globalKind = 'global-parameter';

/** Runtime parameters: kept and shown for whoever reads them. */
export class Parameters {
  private readonly journal: Journal;
  private readonly byKey = new Map<string, Parameter>();
  private readonly globals = new Map<string, unknown>();

  constructor(journal: Journal) {
    this.journal = journal;
  }

  restore(recovered: Recovered): void {
    for (const [key, value] of recovered.entries(kind)) {
      this.byKey.set(key, JSON.parse(value.toString('utf8')) as Parameter);
    }
    for (const [name, value] of recovered.entries(globalKind)) {
      this.globals.set(name, JSON.parse(value.toString('utf8')));
    }
  }

  all(): Parameter[] {
    return [...this.byKey.values()];
  }

  get(vhost: string, component: string, name: string): Parameter | undefined {
    return this.byKey.get(keyOf(vhost, component, name));
  }

  set(parameter: Parameter): void {
    const key = keyOf(parameter.vhost, parameter.component, parameter.name);
    this.byKey.set(key, parameter);
    this.journal.put(kind, key, Buffer.from(JSON.stringify(parameter), 'utf8'));
  }

  /** @returns false when there is none */
  delete(vhost: string, component: string, name: string): boolean {
    const key = keyOf(vhost, component, name);
    if (!this.byKey.delete(key)) return false;
    this.journal.delete(kind, key);
    return true;
  }

  deleteVhost(vhost: string): void {
    for (const each of this.all()) if (each.vhost === vhost) this.delete(vhost, each.component, each.name);
  }

  allGlobals(): ReadonlyMap<string, unknown> {
    return this.globals;
  }

  setGlobal(name: string, value: unknown): void {
    this.globals.set(name, value);
    this.journal.put(globalKind, name, Buffer.from(JSON.stringify(value), 'utf8'));
  }

  deleteGlobal(name: string): boolean {
    if (!this.globals.delete(name)) return false;
    this.journal.delete(globalKind, name);
    return true;
  }
}

function keyOf(vhost: string, component: string, name: string): string {
  return `${vhost}\0${component}\0${name}`;
}
