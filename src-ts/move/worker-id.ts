/** Names a worker, so that no two have one name, and the end of one on this host shows. */
import { randomUUID } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/** Where a process id means one process: this boot of the kernel, and this namespace. undefined where there is no Linux. */
function scopeOf(): string | undefined {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return `${boot}/${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    return undefined;
  }
}

/** `host:pid`, for people, and what makes it unique: containers may have one name of the host, and process 1 each. */
export function newWorkerId(scope = scopeOf()): string {
  return [`${hostname()}:${process.pid}`, scope ?? '', randomUUID()].join(' ');
}

/** True for a worker whose process was here and is no more. */
export function isGone(id: string, here = scopeOf()): boolean {
  const [process_ = '', scope] = id.split(' ');
  const pid = Number(process_.split(':').at(-1));
  if (here === undefined || scope !== here || !Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}
