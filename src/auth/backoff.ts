import type { Clock } from '../lib/clock.ts';

interface Failures {
  count: number;
  lastMs: number;
}

/** Failures of one name from one address that cost nothing; the next waits a second, twice that, … */
const freeOfPair = 5;
/** Failures of an address with whatever names; above, it gets one check in `addressWaitMs`. */
const freeOfAddress = 20;
const firstWaitMs = 1000;
const longestWaitMs = 30_000;
const addressWaitMs = 500;
/** A failure is forgotten after so long. */
const forgetOneMs = 10_000;
/** More than so many are not remembered: who stops is trusted again after some minutes, whatever went before. */
const countMax = 60;
/** Addresses are the attackers' choice (IPv6): what is longest ago is forgotten first. */
const trackedMax = 20_000;

/**
 * Slows down guessing before any password is hashed. Failures are counted for a name at an address, so that one device
 * with an old password does not lock out the others behind the same address, and for the address as a whole.
 */
export class Backoff {
  private readonly clock: Clock;
  private readonly pairs = new Map<string, Failures>();
  private readonly addresses = new Map<string, Failures>();

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** True while no check of this name may be made from there, not even the cheapest. */
  pairWaits(address: string, user: string): boolean {
    const failures = this.pairs.get(pairKey(address, user));
    if (failures === undefined) return false;
    const over = this.decay(failures) - freeOfPair;
    if (over < 0) return false;
    return this.clock.nowMs < failures.lastMs + Math.min(firstWaitMs * 2 ** over, longestWaitMs);
  }

  /** True while no hash is spent on the address. */
  addressWaits(address: string): boolean {
    const failures = this.addresses.get(address);
    if (failures === undefined || this.decay(failures) < freeOfAddress) return false;
    return this.clock.nowMs < failures.lastMs + addressWaitMs;
  }

  failed(address: string, user: string): void {
    this.bump(this.pairs, pairKey(address, user));
    this.bump(this.addresses, address);
  }

  succeeded(address: string, user: string): void {
    this.pairs.delete(pairKey(address, user));
  }

  get tracked(): number {
    return this.pairs.size + this.addresses.size;
  }

  private bump(map: Map<string, Failures>, key: string): void {
    const current = map.get(key);
    const count = Math.min((current === undefined ? 0 : this.decay(current)) + 1, countMax);
    map.delete(key); // to the end: the map is in the order of the last failure
    map.set(key, { count, lastMs: this.clock.nowMs });
    if (map.size <= trackedMax) return;
    for (const oldest of map.keys()) {
      map.delete(oldest);
      break;
    }
  }

  private decay(failures: Failures): number {
    return Math.max(0, failures.count - Math.floor((this.clock.nowMs - failures.lastMs) / forgetOneMs));
  }
}

function pairKey(address: string, user: string): string {
  return `${address}\0${user}`;
}
