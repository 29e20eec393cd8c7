/** Calls `send` every millisecond with how many are due at `rate` a second, for `durationMs`. */
export async function pace(rate: number, durationMs: number, send: (count: number) => void): Promise<void> {
  const startMs = performance.now();
  let sent = 0;
  for (let elapsedMs = 0; elapsedMs < durationMs; elapsedMs = performance.now() - startMs) {
    const due = Math.floor((elapsedMs * rate) / 1000) - sent;
    if (due > 0) send(due);
    sent += Math.max(due, 0);
    await sleep(1);
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
