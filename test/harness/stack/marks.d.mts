export const MARK: string;
export function markedPids(value: string, name?: string): number[];
export function killMarked(value: string): Promise<number>;
