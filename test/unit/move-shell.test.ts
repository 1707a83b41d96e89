/** The command that brings the configuration of a move to the Envoys. */
import { describe, expect, test } from '@jest/globals';
import { shell } from '../../src-ts/move/shell.ts';

const LONG_MS = 60_000;

describe('a shell command', () => {
  test('gets the file, and its end is waited for', async () => {
    await expect(shell('test "$1" = a.yaml', 'a.yaml', LONG_MS)).resolves.toBeUndefined();
  });

  test.each([
    ['echo out; echo why >&2; exit 3', 'why; it ended with 3'],
    ['kill -TERM $$', 'it ended with SIGTERM'],
  ])('that fails says why: %s', async (command, why) => {
    await expect(shell(command, 'a.yaml', LONG_MS)).rejects.toThrow(why);
  });

  test('is ended with all that it has started when it takes too long', async () => {
    // What is left of it would keep its output open.
    await expect(shell('sleep 600 & wait', 'a.yaml', 200)).rejects.toThrow('it had not ended after 0.2 s');
  });
});
