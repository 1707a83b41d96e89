/** Says what takes a while, such as in a terminal's line. */
export type Tell = (line: string) => void;
