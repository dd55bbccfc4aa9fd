/**
 * Stands between work and what it works on, so that a server that has to stop can leave work where it is. After
 * {@link Gate.close} every call through the gate waits for ever: nothing is undone, destroyed or committed any more, and the
 * next server finds things as they are.
 */
export class Gate {
  #isClosed = false;

  close(): void {
    this.#isClosed = true;
  }

  /** The same object, its methods behind this gate. */
  guard<T extends object>(target: T): T {
    return new Proxy(target, {
      get: (object, name) => {
        const member: unknown = Reflect.get(object, name, object);
        if (typeof member !== 'function') return member;
        return (...given: unknown[]): unknown => (this.#isClosed ? new Promise(() => undefined) : Reflect.apply(member, object, given));
      },
    });
  }
}
