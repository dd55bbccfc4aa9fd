import type { Duplex } from 'node:stream';
import type { ShellSession } from '../domain/ports.ts';
import type { AgentSession } from './agent-session.ts';
import type { AgentStream } from './agent-stream.ts';
import { GuestError } from './guest-error.ts';

/** A shell beside the application (docs/agent-protocol.md, "Shells"). */
export class GuestShell implements ShellSession {
  readonly #session: AgentSession;
  readonly #stream: AgentStream;

  private constructor(session: AgentSession, stream: AgentStream) {
    this.#session = session;
    this.#stream = stream;
  }

  /** @throws GuestError `no-shell` where the image has none, `unsupported` where its agent is older than shells, or as `AgentSession.open` */
  static async open(session: AgentSession, signal?: AbortSignal): Promise<GuestShell> {
    // An agent that does not know them would end the session over the question.
    if (!session.welcome.features.includes('shell')) {
      throw new GuestError('unsupported', 'the image was built by an earlier Lull, which had no shells: build a new version of it');
    }
    const stream = await session.open({ to: 'shell' }, signal === undefined ? {} : { signal });
    // What is typed behind the shell's end has nowhere to go, and neither side is kept waiting for it.
    stream.allowHalfOpen = false;
    return new GuestShell(session, stream);
  }

  get stream(): Duplex {
    return this.#stream;
  }

  async resize({ cols, rows }: { readonly cols: number; readonly rows: number }): Promise<void> {
    await this.#session.call('resize', { stream: this.#stream.id, cols, rows });
  }
}
