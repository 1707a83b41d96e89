/** The options by which every command finds PD, and how a command ends. */
import type { Command } from 'commander';
import { CallError, Endpoint, type EndpointOptions } from '../pd/endpoint.ts';
import { Refusal } from './refusal.ts';
import { printJson } from './show.ts';

export interface ConnectionOptions extends EndpointOptions {
  readonly json?: boolean;
}

/** Exit codes: 0 done, or all is well; 1 refused, something is wrong, or PD does not answer; 2 the command line is wrong. */
const FAILED = 1;
const USAGE = 2;

/** Adds `--pd` and what goes with it. */
export function withPd(command: Command): Command {
  return command
    .requiredOption('--pd <url>', "PD's address, http://host:2379 or https://host:2379; its leader's")
    .option('--cert <file>', 'certificate of a system principal, PEM; with https')
    .option('--key <file>', 'its key, PEM')
    .option('--ca <file>', "the authority of the servers' certificates, PEM")
    .option('--server-name <name>', "the name in the servers' certificates, where it is not the host's")
    .option('--json', 'print one JSON value');
}

/** Runs a command's work with a connection to PD; prints what went wrong and sets the exit code. */
export async function run(
  options: ConnectionOptions,
  work: (pd: Endpoint) => Promise<number | undefined>,
): Promise<void> {
  let pd: Endpoint;
  try {
    pd = new Endpoint(options);
  } catch (error) {
    fail(options, (error as Error).message, USAGE);
    return;
  }
  try {
    process.exitCode = (await work(pd)) ?? 0;
  } catch (error) {
    if (error instanceof UsageError) fail(options, error.message, USAGE);
    else if (error instanceof Refusal || error instanceof CallError) fail(options, error.message, FAILED);
    else throw error;
  } finally {
    pd.close();
  }
}

/** The command line asks for something that there is not. */
export class UsageError extends Error {}

function fail({ json }: ConnectionOptions, message: string, code: number): void {
  if (json) printJson({ error: message });
  else process.stderr.write(`tidb-mesh: ${message}\n`);
  process.exitCode = code;
}
