/** Works on all moves of a storage layer, beside each other. Several workers may run: each move has one at a time. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Claims } from './claims.ts';
import { readableMoves } from './record.ts';
import { Move } from './steps/move.ts';
import type { Tools } from './steps/tools.ts';

const LOOK_MS = 500;
const AGAIN_MS = 1000;

export interface Listeners {
  /** The tenants to work for; all without it. */
  readonly only?: ReadonlySet<string>;
  /** A move has ended. */
  readonly ended?: (tenant: string) => void;
  /** There is no move. */
  readonly idle?: () => void;
}

/** Works until the signal comes. */
export async function work(
  tools: Tools,
  signal: AbortSignal,
  { only, ended, idle }: Listeners = {},
): Promise<void> {
  const running = new Map<string, Promise<void>>();
  const claims = new Claims();
  const drive = async (tenant: string): Promise<void> => {
    try {
      if (await new Move(tools, tenant, signal, claims).run()) ended?.(tenant);
    } catch (error) {
      if (signal.aborted) return;
      tools.tell(`${tenant}: ${error instanceof Error ? error.message : String(error)}`);
      await sleep(AGAIN_MS, undefined, { signal }).catch(() => undefined);
    } finally {
      running.delete(tenant);
    }
  };
  const told = new Set<string>();
  while (!signal.aborted) {
    const found = await readableMoves(tools.pd).catch((error: unknown) => {
      tools.tell(error instanceof Error ? error.message : String(error));
      return undefined;
    });
    for (const { message, hint } of found?.broken ?? []) {
      if (!told.has(message)) tools.tell(`${message}; ${hint}`);
      told.add(message);
    }
    if (found?.all.length === 0 && found.broken.length === 0) idle?.();
    for (const { record } of found?.all ?? [])
      if (!running.has(record.tenant) && (only?.has(record.tenant) ?? true))
        running.set(record.tenant, drive(record.tenant));
    await sleep(LOOK_MS, undefined, { signal }).catch(() => undefined);
  }
  await Promise.all(running.values());
}
