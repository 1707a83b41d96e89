/** The option by which commands ask the filter itself, and the connections to it. */
import type { Command } from 'commander';
import { Endpoint, type EndpointOptions } from '../pd/endpoint.ts';

export interface EnvoyOptions extends EndpointOptions {
  readonly envoy?: readonly string[];
}

/** Adds `--envoy`, which may be given more than once. @param use what the filters are asked for */
export function withEnvoys(command: Command, use = 'adds what it has counted'): Command {
  return command.option('--envoy <url...>', `addresses of PD and TiKV at which the filter runs: ${use}`);
}

/** Opens a connection to each Envoy while `work` runs. */
export async function overEnvoys<T>(
  { envoy = [], ...options }: Omit<EnvoyOptions, 'pd'>,
  work: (envoys: readonly Endpoint[]) => Promise<T>,
): Promise<T> {
  const envoys = envoy.map((pd) => new Endpoint({ ...options, pd }));
  try {
    return await work(envoys);
  } finally {
    for (const one of envoys) one.close();
  }
}
