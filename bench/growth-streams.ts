/** One worker's VM with 1 to 100,000 streams open at once: what a message, a new stream and a new configuration cost, and what they hold of memory. */
import { frame } from '../test/harness/model/wire.ts';
import { clocked } from './clock.ts';
import type { Curve, Point } from './curves.ts';
import type { Subject } from './growth.ts';
import { callHeaders, HostedModule } from './module.ts';
import { batchAnswer, batchRequest } from './traffic.ts';

const STREAMS = [1, 10, 100, 1_000, 10_000, 100_000];
const CALLER = Buffer.from('spiffe://demo.mesh/ns/alpha/sa/tidb');
const HEADERS = callHeaders('/tikvpb.Tikv/BatchCommands');
const CONFIG = Buffer.from(
  JSON.stringify({
    tenants: [{ name: 'alpha', number: 1 }],
    rules: [{ principal: 'spiffe://demo.mesh/ns/{tenant}/sa/*' }],
  }),
);
/** Far enough from the last stream that no two messages in turn share lines of the processor's cache. */
const STRIDE = 7919;

function startModule(): HostedModule {
  const module = new HostedModule();
  module.configure(CONFIG);
  return module;
}

/** A VM with so many streams under a configuration that gives way to another again and again; each time all callers are asked anew. */
function changingModule(streams: number): () => void {
  const module = startModule();
  for (let i = 0; i < streams; i++) module.open(CALLER, HEADERS);
  // The configuration under which they are stays: only those that came after it go.
  module.supersede(CONFIG);
  return () => {
    const former = module.supersede(CONFIG);
    module.tick();
    module.close(former);
  };
}

export function streamSubjects(): Subject[] {
  // Long-lived streams of a TiDB, of which the next in turn gets a batch and its answer.
  const request = frame(batchRequest());
  const answer = frame(batchAnswer());
  const points = STREAMS.map((at) => {
    const module = startModule();
    const open = Array.from({ length: at }, () => module.open(CALLER, HEADERS));
    for (const context of open) module.answerHeaders(context);
    return { at, module, open, changing: changingModule(at) };
  });
  const subjects = (curve: string, work: (point: (typeof points)[number], i: number) => void): Subject[] =>
    points.map((point) => {
      let i = 0;
      const run = (times: number) =>
        clocked(() => {
          for (let n = 0; n < times; n++) work(point, i++);
        });
      return { curve, along: 'streams', at: point.at, run };
    });
  return [
    ...subjects('streams, a batch and its answer', ({ module, open, at }, i) => {
      const context = open[(i * STRIDE) % at]!;
      if (!module.request(context, request) || !module.answer(context, answer))
        throw new Error(module.refusal);
    }),
    ...subjects('streams, a change of the configuration and the tick after it', ({ changing }) => changing()),
    ...subjects('streams, opening and closing one more', ({ module }) => {
      module.close(module.open(CALLER, HEADERS));
    }),
  ];
}

/** Bytes of the VM's memory with so many streams open; it grows in steps. */
export function memoryOf(): Curve {
  const module = startModule();
  let open = 0;
  const points = STREAMS.map((at): Point => {
    for (; open < at; open++) module.open(CALLER, HEADERS);
    return { at, rounds: [module.memoryBytes] };
  });
  return { name: "streams, the VM's memory", along: 'streams', unit: 'bytes', points };
}
