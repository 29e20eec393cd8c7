import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

const tickMicros = 10_000; // USER_HZ is 100 wherever Linux runs

/** User and system time of a process, all its threads together, the ended ones too, in microseconds. */
export function cpuMicros(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The second field is the program's name in parentheses and may contain anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const micros = (Number(fields[11]) + Number(fields[12])) * tickMicros;
  const exact = livingMicros(pid);
  // In a second of a slow load a tick is 2 µs a message: what is counted finer is taken while no thread has ended.
  return exact >= micros && exact < micros + 2 * tickMicros ? exact : micros;
}

function livingMicros(pid: number): number {
  let nanos = 0;
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      nanos += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ', 1)[0]);
    }
  } catch {
    // a thread ended meanwhile, or this kernel does not count so
    return 0;
  }
  return nanos / 1000;
}

export function residentBytes(pid: number): number {
  return readStatus(pid, 'VmRSS');
}

/** The highest since `resetPeak`, or since the process began where that is not permitted. */
export function peakResidentBytes(pid: number): number {
  return readStatus(pid, 'VmHWM');
}

export function resetPeak(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, '5');
  } catch {
    // another user's process: its peak is then that of its whole life
  }
}

function readStatus(pid: number, field: string): number {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  const match = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status);
  if (match === null) throw new Error(`/proc/${pid}/status has no ${field}`);
  return Number(match[1]) * 1024;
}
