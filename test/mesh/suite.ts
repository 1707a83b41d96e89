import { describe } from '@jest/globals';
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
