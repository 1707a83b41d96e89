import { Listr, PRESET_TIMER } from 'listr2';

/** One long step. `tell` replaces the text that is shown beside it while it runs. */
export interface Step {
  title: string;
  run(tell: (detail: string) => void): Promise<void>;
}

export interface Progress {
  /** Runs the steps, one after another or all at once, and shows each with its elapsed time. */
  run(steps: Step[], options?: { concurrent?: boolean }): Promise<void>;
}

/** For tests: nothing is shown. */
export const silent: Progress = {
  run: (steps, options) => each(steps, options?.concurrent ?? false, (step) => step.run(() => {})),
};

/** Live lines on a terminal, plain lines elsewhere. All goes to standard error: standard output is for results. */
export function progressFor(stream: NodeJS.WriteStream = process.stderr): Progress {
  const roomy = stream.isTTY && stream.columns >= 60;
  return roomy && !process.env['CI'] ? live : plain(stream);
}

const live: Progress = {
  async run(steps, options) {
    await new Listr(
      steps.map((step) => ({
        title: step.title,
        task: async (_context, task): Promise<void> => {
          const started = Date.now();
          let detail = '';
          const show = (): void => {
            task.title = `${step.title} [${elapsed(started)}]`;
            if (detail) task.output = detail;
          };
          const timer = setInterval(show, 1000);
          try {
            await step.run((text) => {
              detail = text;
              show();
            });
          } finally {
            clearInterval(timer);
            task.title = step.title;
          }
        },
      })),
      {
        concurrent: options?.concurrent ?? false,
        rendererOptions: { timer: PRESET_TIMER, showErrorMessage: false, collapseErrors: false },
      },
    ).run();
  },
};

function plain(stream: NodeJS.WriteStream): Progress {
  return {
    run: (steps, options) =>
      each(steps, options?.concurrent ?? false, async (step) => {
        const started = Date.now();
        stream.write(`  ...  ${step.title}\n`);
        let detail = '';
        const timer = setInterval(() => {
          stream.write(`  ...  ${step.title} [${elapsed(started)}] ${detail}\n`);
        }, 30_000);
        try {
          await step.run((text) => {
            detail = text;
          });
          stream.write(`  ok   ${step.title} [${elapsed(started)}]\n`);
        } catch (error) {
          stream.write(`  FAIL ${step.title} [${elapsed(started)}]\n`);
          throw error;
        } finally {
          clearInterval(timer);
        }
      }),
  };
}

async function each(steps: Step[], concurrent: boolean, run: (step: Step) => Promise<void>): Promise<void> {
  if (!concurrent) {
    for (const step of steps) await run(step);
    return;
  }
  // All come to their end before the first failure is thrown: none is left running unseen.
  const results = await Promise.allSettled(steps.map(run));
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
}

function elapsed(started: number): string {
  const seconds = (Date.now() - started) / 1000;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)}s`;
  return `${Math.floor(seconds / 60)}m ${String(Math.floor(seconds % 60)).padStart(2, '0')}s`;
}
