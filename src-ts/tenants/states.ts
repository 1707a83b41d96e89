/** The state of a tenant in a mesh file or pluginConfig. */
import { CommandError } from '../errors.ts';
import { changeTenant } from './edit.ts';
import type { State } from './tenant.ts';

export interface StateChange {
  /** The text with the new state. */
  readonly text: string;
  readonly before: State;
}

/**
 * Changes the state of a tenant.
 * @param file names the text in errors
 * @throws CommandError
 */
export function changeState(text: string, file: string, name: string, state: State): StateChange {
  let before: State = 'active';
  const after = changeTenant(text, file, name, ['state'], state, 'active', (tenant) => {
    before = (tenant['state'] as State | undefined) ?? 'active';
    if (tenant.number === 0 && state !== 'active')
      throw new CommandError(
        'REFUSED',
        `${name} is tenant 0, which must stay active: its TiDBs may lead the garbage collection of the whole store`,
        'stop its TiDBs instead',
      );
  });
  return { text: after, before };
}
