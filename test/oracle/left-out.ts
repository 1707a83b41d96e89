/** What proto/ has on purpose otherwise than upstream. An entry that no longer makes a difference fails the drift test. */

/** Upstream's fields that proto/ leaves out: `message.field` to the reason. In requests the walker refuses them, in answers it drops them. */
export const LEFT_OUT: Readonly<Record<string, string>> = {};

/** Methods, messages and fields of ours that upstream has not: the name, or a method's path, to the reason. */
export const OURS_ALONE: Readonly<Record<string, string>> = {
  'pdpb.AllocIDRequest.count': 'PD 9.0 has it, and without a limit it would hold up all of PD',
};
