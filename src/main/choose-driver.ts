/** Which hypervisor and accelerator a server uses, and with which copies of it. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { LullError } from '../domain/errors.ts';
import type { Platform, VmmCopy } from '../domain/platform.ts';
import { run } from '../host/process.ts';
import { confinementOf, hostToolPath } from '../setup/confinement.ts';
import { loadVmmCopy } from '../setup/vmm-copy.ts';
import type { Drivers } from '../vmm/driver.ts';
import { JailUsers } from '../vmm/qemu/jail.ts';
import { createQemuDriver } from '../vmm/qemu/qemu-driver.ts';
import type { ServerOptions } from './options.ts';

/**
 * @param kvmWorks found by trying (`src/setup/kvm-probe.ts`)
 * @throws LullError validation where the machine cannot do what the options ask for
 */
export async function chooseDriver(options: ServerOptions, platform: Platform, kvmWorks: () => Promise<boolean>): Promise<Drivers> {
  if (options.driver === 'firecracker') {
    throw new LullError('validation', '--driver firecracker is not there yet in this version; use --driver qemu.');
  }
  if (platform.arch !== 'x86_64') {
    throw new LullError('validation', `microVMs on ${platform.arch} are not there yet in this version: the QEMU machine that it uses is x86 only.`);
  }
  const accelerator = options.accel === 'tcg' || !(await kvmWorks()) ? 'tcg' : 'kvm';
  if (options.accel === 'kvm' && accelerator !== 'kvm') {
    throw new LullError('validation', 'KVM does not run guests on this machine (lull doctor says why); use --accel tcg.');
  }
  const hostTool = hostToolPath(platform);
  const host = {
    hostTool,
    confinement: await confinementOf(platform),
    users: new JailUsers(),
    accelerator,
    tscKhz: accelerator === 'tcg' ? Number(await run([hostTool, 'tsc-khz'])) : 0,
    cpu: hostCpu(),
    architecture: platform.arch,
  } as const;
  const driverOf = ({ id, version, argv }: VmmCopy) => createQemuDriver({ ...host, command: argv as [string, ...string[]], vmmId: id, version });
  const current = driverOf(platform.qemu);
  return {
    current,
    // A few files of one line: read again at each restore, it also tells when a copy is gone.
    withVmm: async (vmmId) => (vmmId === platform.qemu.id ? current : driverOf(await loadVmmCopy(options.platformFolder, vmmId))),
  };
}

/** Model and feature flags: what a KVM guest has seen of the CPU. */
function hostCpu(): string {
  const lines = readFileSync('/proc/cpuinfo', 'utf8').split('\n');
  const facts = lines.filter((line) => /^(vendor_id|cpu family|model|model name|stepping|flags|Features)\s*:/.test(line));
  return createHash('sha256').update([...new Set(facts)].join('\n')).digest('hex').slice(0, 16);
}
