/** What the worker of a move is given. */
import type { Endpoint } from '../../pd/endpoint.ts';
import type { Tell } from '../../tell.ts';
import type { Engine } from '../engine/engine.ts';
import type { Mesh } from '../filters/mesh.ts';
import type { MoveRecord } from '../record.ts';
import type { Limits } from './limits.ts';

/** What becomes of a tenant when somebody has written where it is not served. */
export type OnAlarm = 'stop' | 'report';

export interface Tools {
  readonly pd: Endpoint;
  readonly mesh: Mesh;
  /** Names this worker, and no other one: see worker-id.ts. */
  readonly id: string;
  readonly limits?: Partial<Limits>;
  /** 'stop' without it. */
  readonly onAlarm?: OnAlarm;
  /** @param isMine throws when another worker has the move: what is written then may be somebody else's */
  engineOf(record: MoveRecord, isMine: () => Promise<void>): Engine;
  readonly tell: Tell;
  /** Hears what has just been done, and of each state before and after it is written. So a test can end a worker between two steps. */
  readonly reached?: (step: string) => void | Promise<void>;
  /** True for a worker that is known to have ended: its claim need not be waited for. */
  readonly isGone?: (id: string) => boolean;
}

/** Tells of a step that has just been done. */
export type Reached = (step: string) => Promise<void>;

/** Does something with an engine for the move, which is closed behind it. */
export type WithEngine = <T>(work: (engine: Engine) => Promise<T>) => Promise<T>;
