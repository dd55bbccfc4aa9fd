/** What each operation does: one call into `control`, rendered. The table is typed by `src/contract/operations.ts`. */
import type { OperationAnswer, OperationInput, OperationName } from '../contract/operations.ts';
import type { ControlPlane } from '../control/control-plane.ts';
import type { Realm } from '../domain/ids.ts';

/** What handlers need besides the input. */
export interface HandlerContext {
  readonly control: ControlPlane;
  readonly realm: Realm;
  /** `<endpointId>.<domain>`, with `:port` where it is not 443. */
  readonly endpointHost: (endpointId: string) => string;
}

export type Handler<O extends OperationName> = (input: OperationInput<O>, context: HandlerContext) => Promise<OperationAnswer<O>>;
/** The handlers of some operations. */
export type HandlersOf<O extends OperationName> = { readonly [N in O]: Handler<N> };
