import { Cron } from 'croner';

/**
 * The times of a cron entry: minute, hour, day of the month, month, day of the week; with six fields seconds come
 * first. They are times of the zone that the process runs in.
 */
export class CronTimes {
  private readonly cron: Cron;

  /** @throws RangeError when it is none */
  constructor(entry: string) {
    try {
      this.cron = new Cron(entry, { paused: true });
    } catch (error) {
      throw new RangeError(`'${entry}' is no cron entry: ${(error as Error).message}`);
    }
  }

  /** The first time behind `afterMs`, in milliseconds since the epoch; Infinity when none ever comes. */
  nextMs(afterMs: number): number {
    return this.cron.nextRun(new Date(afterMs))?.getTime() ?? Number.POSITIVE_INFINITY;
  }
}
