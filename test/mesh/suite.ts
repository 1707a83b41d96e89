import { describe, expect } from '@jest/globals';
import type { ControlPlane } from './control-plane.ts';
import { lacking } from './requirements.ts';

/** `describe` where this machine can hold a mesh; elsewhere the reason stands in the title of what is skipped. */
export function meshSuite(title: string, body: () => void): void {
  const reason = lacking();
  if (reason === undefined) describe(title, body);
  else describe.skip(`${title} (not run: ${reason})`, body);
}

/** Asks again and again until `found` says yes; fails with what it saw last after `timeout` milliseconds. */
export async function eventually<T>(
  ask: () => Promise<T> | T,
  found: (answer: T) => boolean,
  timeout = 20_000,
): Promise<T> {
  const deadline = Date.now() + timeout;
  for (;;) {
    const answer = await ask();
    if (found(answer)) return answer;
    if (Date.now() > deadline)
      throw new Error(`not within ${timeout} ms; the last answer was ${JSON.stringify(answer)}`);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

/** Newer versions of Istio say this of every EnvoyFilter. */
export const OF_EVERY_ENVOY_FILTER = /^.*EnvoyFilter exposes internal implementation details [^\n]*\n?/gm;

/** `istioctl validate` finds nothing in the file. */
export async function expectValid(controlPlane: ControlPlane, file: string): Promise<void> {
  const { status, stdout, stderr } = await controlPlane.istioctl(['validate', '-f', file]);
  const rest = stderr.replace(OF_EVERY_ENVOY_FILTER, '').replace(' has warnings: \n\n', ' is valid\n');
  expect({ status, stdout, stderr: rest }).toEqual({ status: 0, stdout: '', stderr: `"${file}" is valid\n` });
}

/** `istioctl analyze` has no findings in the namespace. */
export async function expectNoFindings(controlPlane: ControlPlane, namespace: string): Promise<void> {
  const { stdout } = await controlPlane.istioctl(['analyze', '-n', namespace, '--output=json']);
  const found = JSON.parse(stdout || '[]') as { level: string; message: string }[];
  const rest = found.filter(
    ({ level, message }) => level !== 'Info' && message.replace(OF_EVERY_ENVOY_FILTER, '') !== '',
  );
  expect(rest).toEqual([]);
}
