import { readFileSync } from 'node:fs';

/** A process that cannot be mistaken for a later one with the same pid: the pid and the kernel's start time of it. */
export interface ProcessIdentity {
  pid: number;
  /** Field 22 of /proc/pid/stat, in clock ticks since boot. Empty where there is no /proc. */
  start: string;
}

export function processIdentity(pid: number): ProcessIdentity {
  return { pid, start: startTime(pid) ?? '' };
}

/** True while that very process runs. A zombie counts as ended. */
export function isAlive(identity: ProcessIdentity): boolean {
  const start = startTime(identity.pid);
  return start !== undefined && identity.start !== '' && start === identity.start;
}

/** Signals that very process, never another that got its pid. Returns whether it was there. */
export function signal(identity: ProcessIdentity, name: NodeJS.Signals): boolean {
  if (!isAlive(identity)) return false;
  try {
    process.kill(identity.pid, name);
    return true;
  } catch {
    return false;
  }
}

function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The command in parentheses may hold spaces and parentheses itself; what follows the last one is regular.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}
