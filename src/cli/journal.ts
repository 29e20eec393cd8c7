import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { backup as copy } from '../storage/backup.ts';
import { openDisk } from '../storage/disk.ts';
import { inspect as read, type SegmentReport } from '../storage/inspect.ts';
import type { RecordVisitor } from '../storage/record.ts';
import { JournalDamage } from '../storage/segment.ts';
import { jsonOption } from './api.ts';
import { type Call, type Command, CommandError, type Group } from './command.ts';
import { configOptions } from './start.ts';
import { renderTable } from './table.ts';

const inspect: Command = {
  name: 'inspect',
  summary: 'Show what each segment of the log holds.',
  details: 'Reads the data directory and changes nothing; of a running broker the last unit may seem torn.',
  options: { ...configOptions, ...jsonOption },
  async run(call) {
    const reports = await readLog(call);
    if (call.flag('json')) return call.terminal.say(`${JSON.stringify(reports)}\n`);
    const columns = ['file', 'bytes', 'units', 'messages', 'settlements', 'puts', 'deletions'] as const;
    const rows = reports.map((report) => [
      ...columns.map((column) => String(report[column])),
      report.fault === null ? '' : describeFault(report.fault),
    ]);
    call.terminal.say(renderTable([...columns, 'fault'], rows, call.terminal.width));
  },
};

const verify: Command = {
  name: 'verify',
  summary: 'Check every octet of the log against its checksums.',
  details:
    'Ends with 0 when the log is whole, with 1 when it ends in a torn tail, which the next start cuts off, or is damaged.',
  options: configOptions,
  async run(call) {
    const reports = await readLog(call);
    const faults = reports.filter(({ fault }) => fault !== null);
    if (faults.length > 0) throw new CommandError(faults.map(describe).join('\n'));
    let units = 0;
    for (const report of reports) units += report.units;
    call.terminal.say(`the log is whole: ${reports.length} segments, ${units} units\n`);
  },
};

const exportRecords: Command = {
  name: 'export',
  summary: 'Print every record of the log, a JSON object a line.',
  details:
    'What is no text is written as base64. What lives is what is published and not settled by a later line; docs/storage.md says what ' +
    'the kinds and their keys are.',
  options: configOptions,
  async run(call) {
    const say = (record: object): void => call.terminal.say(`${JSON.stringify(record)}\n`);
    const reports = await readLog(call, {
      published: (record) =>
        say({
          record: 'published',
          sequence: record.sequence,
          queues: record.queueIds,
          exchange: record.exchange,
          routingKey: record.routingKey,
          durable: record.durable,
          priority: record.priority,
          qos: record.qos,
          retain: record.retain,
          expiresAtMs: record.queueIds.map((_id, index) => record.expiryAt(index)),
          format: record.formatId,
          native: record.native.toString('base64'),
          body: record.body.toString('base64'),
          deaths: record.deaths,
        }),
      settled: (queue, sequence) => say({ record: 'settled', queue, sequence }),
      put: (kind, key, value) => say({ record: 'put', kind, key, ...shownValue(value) }),
      deleted: (kind, key) => say({ record: 'deleted', kind, key }),
      survivors: (part) => say({ record: 'survivors', ...part }),
    });
    const faults = reports.filter(({ fault }) => fault !== null);
    if (faults.length > 0) throw new CommandError(faults.map(describe).join('\n'));
  },
};

export const journal: Group = {
  name: 'journal',
  summary: 'Read the log of a broker that need not run.',
  commands: [inspect, verify, exportRecords],
};

export const backup: Command = {
  name: 'backup',
  summary: 'Copy a consistent state of the data directory, also while the broker runs.',
  details: 'All that was confirmed before it began is in the copy: start a broker with --data-dir DIR to use it.',
  arguments: ['DIR'],
  options: configOptions,
  async run(call) {
    const source = await dataDirectory(call);
    const target = resolve(call.get(0));
    const files = await copy(source, target).catch((error: Error) => {
      throw new CommandError(error.message);
    });
    call.terminal.say(`copied ${files.length} files from '${source}' to '${target}'\n`);
  },
};

async function readLog(call: Call, visitor: Partial<RecordVisitor> = {}): Promise<SegmentReport[]> {
  const directory = await dataDirectory(call);
  try {
    return await read(await openDisk(directory), visitor);
  } catch (error) {
    if (error instanceof JournalDamage) throw new CommandError(error.message);
    throw error;
  }
}

async function dataDirectory(call: Call): Promise<string> {
  const { readConfig } = await import('../run.ts'); // the whole broker: only who needs its configuration loads it
  const flags = { config: call.text('config'), dataDir: call.text('data-dir'), set: call.list('set') };
  const directory = resolve(readConfig(flags).dataDir);
  if (!existsSync(directory)) throw new CommandError(`there is no data directory '${directory}'`);
  return directory;
}

function describe({ file, fault }: SegmentReport): string {
  return fault === null ? '' : `${file}: ${describeFault(fault)}`;
}

function describeFault({ kind, offset, what }: NonNullable<SegmentReport['fault']>): string {
  return `${kind} at offset ${offset}: ${what}`;
}

/** Most values are JSON, and are shown as that; others are octets. */
function shownValue(value: Buffer): object {
  try {
    return { value: JSON.parse(value.toString('utf8')) };
  } catch {
    return { octets: value.toString('base64') };
  }
}
