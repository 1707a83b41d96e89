/** Which VMs of which Envoys do what the filters were last told of a tenant. */
import type { Acknowledgement } from '../../tenants/mesh-status.ts';
import type { MoveRecord } from '../record.ts';
import { PHASES, type Vm } from './mesh.ts';

/** A VM that does not, or not yet. */
export interface Missing {
  readonly vm: string;
  readonly why: string;
}

export interface Acknowledged {
  readonly serial: number;
  /** The latest phase that any VM has at this serial; undefined when none knows it. */
  readonly phase: string | undefined;
  readonly vms: number;
  readonly missing: readonly Missing[];
}

function rankOf(phase: string): number {
  return PHASES.findIndex((one) => one === phase);
}

/** What a filter says in place of a phase. */
const CONTRADICTIONS: Readonly<Record<string, string>> = {
  outdated: 'has an older configuration, and holds the tenant',
  untold: 'has a configuration without the move, and goes on with the last phase',
  unknown: 'has a phase that its version of the filter does not know, and holds the tenant',
};

/** Why a VM is not where the others are; undefined when it is. */
function whyNot(vm: Vm, said: readonly Acknowledgement[], serial: number, phase: string): string | undefined {
  if (vm.missing !== undefined) return vm.missing;
  if (vm.stale) return 'has told nothing for ten seconds';
  if (said.length === 0) return 'knows nothing of the move';
  const other = said.find((one) => one.serial !== serial || one.phase !== phase);
  if (other?.latestSerial !== undefined)
    return `has an older configuration, of serial ${other.serial} where it knows ${other.latestSerial}, and holds the tenant`;
  if (other) return CONTRADICTIONS[other.phase] ?? `is at serial ${other.serial}, phase ${other.phase}`;
  // A calm ends by itself after each switch.
  const isLifted = phase !== 'calm' && said.some(({ lifted }) => lifted);
  return isLifted ? 'has let requests go on, since they were held for too long' : undefined;
}

export function acknowledged({ tenant, serial }: MoveRecord, vms: readonly Vm[]): Acknowledged {
  const saidBy = (vm: Vm): Acknowledgement[] => vm.moves.filter((one) => one.tenant === tenant);
  const phases = vms
    .flatMap(saidBy)
    .filter((one) => one.serial === serial)
    .map(({ phase }) => phase)
    .sort((a, b) => rankOf(b) - rankOf(a));
  const [phase] = phases;
  const missing = vms.flatMap((vm): Missing[] => {
    const why = whyNot(vm, saidBy(vm), serial, phase ?? '');
    return why === undefined ? [] : [{ vm: vm.name, why }];
  });
  return { serial, phase, vms: vms.length, missing };
}
