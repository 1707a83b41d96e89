/** A worker for moves beside a stack, in this process. */
import type { Clusters } from '../src-ts/move/clusters.ts';
import { makeEngine } from '../src-ts/move/engine/engine-of.ts';
import { vmsOf } from '../src-ts/move/filters/mesh.ts';
import { moveOf, type MoveRecord } from '../src-ts/move/record.ts';
import { placeText } from '../src-ts/move/place.ts';
import { ask, fulfilled } from '../src-ts/move/wishes.ts';
import { work } from '../src-ts/move/worker.ts';
import { Endpoint } from '../src-ts/pd/endpoint.ts';
import { SYSTEM_PRINCIPAL, type PluginConfig, type Stack } from '../test/harness/stack/stack.ts';
import { setTimeout as sleep } from 'node:timers/promises';

const WAIT_MS = 120_000;
/** How far the copy may be behind, and how long a busy machine is waited for. The switch waits for the rest. */
const CLOSE_MS = 1000;
const CLOSE_WAIT_MS = 20_000;
/** What happens in the phases of a switch: docs/move.md. */
const PHASES: Readonly<Record<string, string>> = {
  calm: 'transactions commit in two phases only',
  drain: 'new writes are held',
  fence: 'commits are held, too',
  final: 'all requests are held, and the last changes are carried over',
};

export interface Mover {
  readonly pd: Endpoint;
  /** Asks for a switch, waits until it is done, and says how it goes. */
  switch(tenant: string, verb: 'switch' | 'reverse'): Promise<MoveRecord>;
  /** Waits until the copy is so close behind that a switch is quick, as an operator would by `move show`. */
  closeBehind(tenant: string): Promise<void>;
  stop(): Promise<void>;
}

/**
 * @param config what the stack's filter runs under
 * @param clusters outside of the mesh
 */
export async function startMover(
  stack: Stack,
  config: PluginConfig,
  tell: (line: string) => void,
  clusters: Clusters = new Map(),
): Promise<Mover> {
  const options = { pd: stack.pd.directUrl };
  const pd = new Endpoint(options);
  const certs = await stack.certs.client(SYSTEM_PRINCIPAL);
  const envoys = [stack.pd.meshAddress, stack.store.meshAddress].map(
    (address) => new Endpoint({ pd: `https://${address}`, ...certs }),
  );
  const end = new AbortController();
  const working = work(
    {
      pd,
      mesh: {
        tell: (tenant, { place, state, move }) =>
          stack.configure({
            ...config,
            tenants: config.tenants.map((one) =>
              one.name === tenant
                ? { ...one, ...place, ...(state ? { state } : {}), ...(move ? { move } : {}) }
                : one,
            ),
          }),
        hosts: envoys.map(({ url }) => url.host),
        vms: () => vmsOf(envoys),
      },
      id: 'the demo',
      engineOf: (record) => makeEngine(options, record, clusters),
      tell: (line) => {
        const [, phase = ''] = /: (\w+)$/.exec(line) ?? [];
        tell(PHASES[phase] === undefined ? line : `${line}: ${PHASES[phase]}`);
      },
    },
    end.signal,
  );
  return {
    pd,
    switch: async (tenant, verb) => {
      const { switches } = await ask(pd, tenant, verb);
      const quiet = (): void => undefined;
      const record = await fulfilled(pd, tenant, { verb, switches, timeoutMs: WAIT_MS, tell: quiet });
      if (!record) throw new Error(`the move of ${tenant} has ended`);
      tell(`${tenant} is served at ${placeText(record, record.from)}`);
      return record;
    },
    closeBehind: async (tenant) => {
      const began = Date.now();
      for (;;) {
        const { state, progress, problem } = (await moveOf(pd, tenant)).record;
        const { lagMs = Infinity } = (progress ?? {}) as { lagMs?: number };
        const isThere = state === 'following' && lagMs < Infinity;
        if (isThere && lagMs < CLOSE_MS) return;
        if (isThere && Date.now() > began + CLOSE_WAIT_MS) {
          tell(`${tenant}: the copy is ${(lagMs / 1000).toFixed(1)} s behind, since this machine is busy`);
          return;
        }
        if (Date.now() > began + WAIT_MS) throw new Error(`${tenant} is not copied yet: ${problem ?? state}`);
        await sleep(100);
      }
    },
    stop: async () => {
      end.abort();
      await working;
      for (const endpoint of [pd, ...envoys]) endpoint.close();
    },
  };
}
