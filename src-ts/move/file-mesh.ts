/** The mesh as a file and a command: the mover changes the file, and the command brings it to the Envoys. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { CommandError } from '../errors.ts';
import type { Endpoint } from '../pd/endpoint.ts';
import { replaceFile } from '../replace-file.ts';
import { findTenant } from '../tenants/edit.ts';
import { withOrders } from './config.ts';
import { hiddenBehind } from './envoys.ts';
import { vmsOf, type Mesh } from './mesh.ts';
import { placeOf } from './place.ts';

const run = promisify(execFile);
const APPLY_MS = 60_000;

/**
 * @param file a mesh file or pluginConfig
 * @param apply a shell command, which gets the file's path as `$1`; none where the Envoys watch the file itself
 */
export function fileMesh(file: string, apply: string | undefined, envoys: readonly Endpoint[]): Mesh {
  // Moves beside each other change the same file.
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(act: () => Promise<T>): Promise<T> => {
    const next = last.then(act, act);
    last = next.catch(() => undefined);
    return next;
  };
  return {
    hosts: envoys.map(({ url }) => url.host),
    tell: (tenant, orders) =>
      inTurn(async () => {
        const text = withOrders(readFileSync(file, 'utf8'), file, tenant, orders);
        replaceFile(file, text);
        if (apply === undefined) return;
        try {
          await run('sh', ['-c', apply, 'sh', file], { timeout: APPLY_MS });
        } catch (error) {
          const { stderr = '', message } = error as { stderr?: string; message: string };
          throw new CommandError(
            'REFUSED',
            `--apply ${apply}: ${stderr.trim().slice(-300) || message}`,
            'run the command by hand; the move goes on when it succeeds',
            { cause: error },
          );
        }
      }),
    vms: () => vmsOf(envoys),
    hidden: () => hiddenBehind(envoys),
    placeOf: (tenant) => {
      try {
        return placeOf(
          findTenant(readFileSync(file, 'utf8'), file, tenant).tenant as Parameters<typeof placeOf>[0],
        );
      } catch {
        // Whoever edits it may not have finished.
        return undefined;
      }
    },
  };
}
