/** A command of the project that runs another one. */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { ROOT } from './root.mjs';

const LIFELINE = new URL('lifeline.mjs', import.meta.url).href;

let signalled = false;

/** What a child writes, for the end. */
function collect(child) {
  const parts = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (part) => parts.push(part));
  return parts;
}

/** Whether a signal has come while a command was running. */
export const isSignalled = () => signalled;

/**
 * Runs a command to its end and gives its exit status. A signal goes on to it; SIGINT comes to it by itself, since a terminal sends it
 * to the whole group. With `later`, its output is printed at its end, so that two commands can run side by side.
 */
export function runCommand(command, args, { lifeline = false, stdin = 'inherit', later = false } = {}) {
  const output = later ? 'pipe' : 'inherit';
  const child = spawn(command, args, {
    cwd: ROOT,
    stdio: [stdin, output, output, ...(lifeline ? ['ipc'] : [])],
    env: { ...process.env, ...(lifeline ? { TIDB_MESH_LIFELINE: '1' } : {}) },
  });
  const written = later ? collect(child) : [];
  const handlers = ['SIGINT', 'SIGTERM', 'SIGHUP'].map((name) => [
    name,
    () => {
      signalled = true;
      if (name !== 'SIGINT') child.kill(name);
    },
  ]);
  for (const [name, handle] of handlers) process.on(name, handle);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once(later ? 'close' : 'exit', (code, signal) => {
      for (const [name, handle] of handlers) process.off(name, handle);
      process.stdout.write(Buffer.concat(written));
      resolve(code ?? 128 + constants.signals[signal]);
    });
  });
}

/** The same for a script of the project in Node. It ends as by SIGTERM when this process has gone. */
export const runNode = (args, options = {}) =>
  runCommand(process.execPath, ['--import', LIFELINE, ...args], { ...options, lifeline: true });
