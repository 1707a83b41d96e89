/**
 * What this VM keeps of a tenant over all configurations: its state in the one that is in force. Made with the tenant's first stream, and
 * kept as long as the VM. So a new configuration reaches open streams at once, whatever configuration they began under.
 */
import { isSameBytes } from '../wire/bytes';
import { State } from './state';

@unmanaged
export class Account {
  /** In the configuration in force. */
  state: State = State.ACTIVE;
  /** The next account of the same plugin. */
  next: Account | null = null;

  constructor(
    /** The name, ASCII, on the heap. */
    public nameAt: usize,
    public nameLength: usize,
  ) {}

  isNamed(at: usize, length: usize): bool {
    return length == this.nameLength && isSameBytes(at, this.nameAt, length);
  }
}

/** Stands for the account of a tenant that has no stream yet. */
export const NO_ACCOUNT: Account = new Account(0, 0);

/** Makes an account with a copy of the name. */
export function newAccount(nameAt: usize, nameLength: usize): Account {
  const copy = heap.alloc(nameLength);
  memory.copy(copy, nameAt, nameLength);
  return new Account(copy, nameLength);
}
