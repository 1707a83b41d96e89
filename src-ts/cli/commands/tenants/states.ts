/** `tidb-mesh tenants suspend`, `read-only` and `resume`: change a tenant's state in the configuration. */
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandError, EXIT, EXIT_MEANINGS } from '../../../errors.ts';
import { statesIn } from '../../../tenants/mesh-status.ts';
import { changeState } from '../../../tenants/states.ts';
import type { State } from '../../../tenants/tenant.ts';
import type { Call, Definition, Result } from '../../definition.ts';
import { overEnvoys, type EnvoyOptions } from '../../envoys.ts';
import { withChangedConfig } from '../../files.ts';
import { withTls } from '../../pd.ts';
import { changeFile, toApply } from './change-file.ts';
import { parseName } from './names.ts';

/** How long --wait waits. Istio and a reviewed change may take minutes. */
const WAIT_SECONDS = 600;
const PAUSE_MS = 1000;

interface Options extends Omit<EnvoyOptions, 'pd'> {
  readonly config: string;
  readonly wait?: true;
}

type Args = [name: string];

const ABOUT = `It changes the tenant's "state" in a mesh file or pluginConfig, and nothing else in the file. What to apply
then, it says. Once Envoy has the configuration, the state counts at once, for open streams too
(docs/states.md). With --wait it goes on until all workers of all Envoys at --envoy have the state, for ten
minutes at most: apply the file meanwhile.`;

function stateCommand(verb: string, state: State, summary: string): Definition<Options, Args> {
  return {
    name: `tenants ${verb}`,
    summary,
    about: ABOUT,
    examples: [
      `tidb-mesh tenants ${verb} alpha --config mesh.yaml`,
      [
        `tidb-mesh tenants ${verb} alpha --config mesh.yaml --wait --envoy https://pd:2379 https://tikv-0:20160 --cert op.pem --key op.key`,
        'until PD and TiKV enforce it',
      ],
    ],
    exits: {
      [EXIT.ok]: 'changed, or in that state already; with --wait, all Envoys have it',
      [EXIT.failed]: 'refused; nothing was changed. Or not all Envoys have it in time',
      [EXIT.unreachable]: EXIT_MEANINGS[EXIT.unreachable],
    },
    define: (command) =>
      withTls(
        withChangedConfig(command.argument('<name>', "the tenant's name", parseName), true)
          .option('--wait', 'wait until all workers of these Envoys have the state')
          .option('--envoy <url...>', 'addresses of PD and TiKV at which the filter runs'),
      ),
    run: async (call) => {
      const { wait, envoy } = call.options;
      if ((wait === undefined) !== (envoy === undefined))
        throw new CommandError('USAGE', '--wait and --envoy go together', 'give both or neither');
      const changed = await change(call, state);
      return wait === undefined ? changed : enforced(call, state, changed);
    },
  };
}

export const suspendTenants = stateCommand('suspend', 'suspended', 'refuse all requests of a tenant');
export const readOnlyTenants = stateCommand('read-only', 'read-only', 'refuse the writes of a tenant');
export const resumeTenants = stateCommand('resume', 'active', 'serve a tenant again');

async function change({ args: [name], options, tell }: Call<Options, Args>, state: State): Promise<Result> {
  const { config: file } = options;
  let before: State = state;
  const { text, isChanged } = await changeFile(file, tell, (text) => {
    const changed = changeState(text, file, name, state);
    before = changed.before;
    return changed.text;
  });
  return {
    value: { name, state, before, file, changed: isChanged },
    text: isChanged
      ? `${name} is ${state} in ${file}; it was ${before}\n${toApply(text, file)}`
      : `${name} is ${state} in ${file} already; nothing was changed`,
  };
}

/** Waits until all VMs of all Envoys have the tenant in this state. */
async function enforced(
  { args: [name], options, tell }: Call<Options, Args>,
  state: State,
  changed: Result,
): Promise<Result> {
  return overEnvoys(options, async (envoys) => {
    const deadline = Date.now() + WAIT_SECONDS * 1000;
    for (;;) {
      const { vms, others } = await statesIn(envoys, name, state);
      if (vms > 0 && others.length === 0)
        return {
          value: { ...(changed.value as object), vms },
          text: `${changed.text}\n${name} is ${state} in all ${vms} VMs`,
        };
      if (Date.now() > deadline)
        throw new CommandError(
          'NOT_YET',
          `${name} is not ${state} everywhere after ${WAIT_SECONDS} s: ${others.join('; ') || 'no VM has told anything'}`,
          'apply the file, and look for an Envoy that has refused it: tidbmesh_config_loaded_timestamp_seconds',
        );
      tell(`apply ${options.config}; ${name} is ${state} in ${vms - others.length} of ${vms} VMs`);
      await sleep(PAUSE_MS);
    }
  });
}
