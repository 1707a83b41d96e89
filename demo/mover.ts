/** A worker for moves beside a stack, in this process. */
import type { Clusters } from '../src-ts/move/clusters.ts';
import { makeEngine } from '../src-ts/move/engine-of.ts';
import { vmsOf } from '../src-ts/move/mesh.ts';
import { moveOf, type MoveRecord } from '../src-ts/move/record.ts';
import { summaryOf } from '../src-ts/move/show.ts';
import { ask, fulfilled } from '../src-ts/move/wishes.ts';
import { work } from '../src-ts/move/worker.ts';
import { Endpoint } from '../src-ts/pd/endpoint.ts';
import { SYSTEM_PRINCIPAL, type PluginConfig, type Stack } from '../test/harness/stack/stack.ts';
import { setTimeout as sleep } from 'node:timers/promises';

const WAIT_MS = 60_000;
const CLOSE_MS = 1000;

export interface Mover {
  readonly pd: Endpoint;
  /** Asks for a switch, and waits until it is done. */
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
      tell,
    },
    end.signal,
  );
  return {
    pd,
    switch: async (tenant, verb) => {
      const { switches } = await ask(pd, tenant, verb);
      const told = (record: MoveRecord): void => tell(summaryOf(record).state);
      const record = await fulfilled(pd, tenant, { verb, switches, timeoutMs: WAIT_MS, tell: told });
      if (!record) throw new Error(`the move of ${tenant} has ended`);
      return record;
    },
    closeBehind: async (tenant) => {
      const deadline = Date.now() + WAIT_MS;
      for (;;) {
        const { state, progress } = (await moveOf(pd, tenant)).record;
        const { lagMs = Infinity } = (progress ?? {}) as { lagMs?: number };
        if (state === 'following' && lagMs < CLOSE_MS) return;
        if (Date.now() > deadline)
          throw new Error(`the copy is ${lagMs / 1000} s behind: this machine is too busy`);
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
