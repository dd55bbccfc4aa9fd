/** What set-up has prepared on this machine: the files that every microVM and every build starts from. */

/** Processor architectures that Lull runs on, in the kernel's names. */
export const ARCHITECTURES = ['x86_64', 'aarch64'] as const;
export type Architecture = (typeof ARCHITECTURES)[number];

/** As AWS's API would name them; its enum has ARM_64 only (contract reference, section 1.4). */
export const WIRE_ARCHITECTURES: { readonly [A in Architecture]: string } = { x86_64: 'X86_64', aarch64: 'ARM_64' };

/** What images are built for. */
export interface ArchitecturePolicy {
  readonly host: Architecture;
  /** Refuses an image that asks for another one; else it is built for the host, and its log says so. */
  readonly isStrict: boolean;
}

/** A file kept under the hash of its content. */
export interface PlatformFile {
  /** Prefix of the SHA-256; also the name of its folder. */
  readonly id: string;
  /** Absolute path. */
  readonly path: string;
}

/** A base image that a Dockerfile may name without a registry. */
export interface BaseImage {
  /** As written in `FROM`: `lull/base`, `lull/python`, `lull/node`. */
  readonly name: string;
  /** The last part of its ARN: `lull-base`, … */
  readonly arnName: string;
  /** Tar of the root file system, without devices. */
  readonly rootfsPath: string;
  /** `sha256:` and the hex digest of that tar. */
  readonly digest: string;
  /** The OCI configuration that it starts with. */
  readonly config: { readonly env: readonly string[]; readonly cmd: readonly string[]; readonly workingDir: string };
  readonly createdAtMs: number;
}

/** A private copy of a VMM with all that it loads. It stays as long as a snapshot was made with it. */
export interface VmmCopy {
  /** Prefix of the SHA-256 of its content; also the name of its folder. */
  readonly id: string;
  /** `7.2.22`. */
  readonly version: string;
  /** Its folder. */
  readonly path: string;
  /**
   * The words that a command line starts with. QEMU looks for firmware in its current folder before its own: start it in a
   * folder that nobody else writes to.
   */
  readonly argv: readonly string[];
}

/** The prepared platform. */
export interface Platform {
  readonly arch: Architecture;
  readonly createdAtMs: number;
  readonly kernel: PlatformFile & { readonly release: string };
  readonly initramfs: PlatformFile;
  /** The agent's binary; the host runs it too, for its tools. */
  readonly agent: PlatformFile;
  /** The newest copy: for everything that is made anew. */
  readonly qemu: VmmCopy;
  readonly baseImages: readonly BaseImage[];
}

/**
 * What keeps a VMM's process from the host, besides the hypervisor's own filter of system calls: a jail (a root with no file but its own, no
 * network, no capability) and a user that nobody else is; the jail alone; or nothing, where the host allows no namespaces.
 */
export type Confinement = 'own-user' | 'same-user' | 'none';
