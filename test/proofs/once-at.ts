/** What happens once, when a worker of moves reaches a step. */
export class OnceAt {
  private due: { readonly step: string; readonly act: () => Promise<void> } | undefined;
  /** How often something has happened. */
  count = 0;

  set(step: string, act: () => Promise<void>): void {
    this.due = { step, act };
  }

  clear(): void {
    this.due = undefined;
  }

  /** For the worker's tools. */
  readonly reached = async (step: string): Promise<void> => {
    if (step !== this.due?.step) return;
    const { act } = this.due;
    this.clear();
    await act();
    this.count++;
  };
}
