/** What commands that ask PD have in common: the options by which they find it, and an exit code of their own. */
import { Option, type Command } from 'commander';
import { EXIT, EXIT_MEANINGS } from '../errors.ts';
import { Endpoint, type EndpointOptions } from '../pd/endpoint.ts';
import type { Call, Definition, Result } from './definition.ts';

/** A command that gets a connection to PD. */
interface PdDefinition<Options, Args> extends Omit<Definition<Options, Args>, 'run'> {
  readonly run: (pd: Endpoint, call: Call<Options, Args>) => Result | Promise<Result>;
}

/** Adds `--pd`, and what a connection to PD needs. */
export function withPd(command: Command, isRequired = true): Command {
  const pd = new Option(
    '--pd <url>',
    'addresses of PD, http://host:2379 or https://host:2379, commas between them',
  );
  return withTls(command.addOption(pd.makeOptionMandatory(isRequired)));
}

/** Adds the options of a connection over TLS. */
export function withTls(command: Command): Command {
  return command
    .option('--cert <file>', 'certificate of a system principal, PEM; with https')
    .option('--key <file>', 'its key, PEM')
    .option('--ca <file>', "authority of the servers' certificates, PEM")
    .option('--server-name <name>', "name in the servers' certificates, if it is not the host's");
}

/** Opens a connection to PD while `work` runs. */
export async function overPd<T>(
  options: EndpointOptions,
  work: (pd: Endpoint) => Promise<T> | T,
): Promise<T> {
  const pd = new Endpoint(options);
  try {
    return await work(pd);
  } finally {
    pd.close();
  }
}

/** Makes a command of one that asks PD. */
export function pdCommand<Options extends object, Args>(
  definition: PdDefinition<Options, Args>,
): Definition<Options & EndpointOptions, Args> {
  return {
    ...definition,
    exits: { ...definition.exits, [EXIT.unreachable]: EXIT_MEANINGS[EXIT.unreachable] },
    define: (command) => {
      definition.define?.(command);
      withPd(command);
    },
    run: (call) => overPd(call.options, (pd) => definition.run(pd, call)),
  };
}
