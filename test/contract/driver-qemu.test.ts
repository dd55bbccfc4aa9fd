import { probeKvm } from '../../src/setup/kvm-probe.ts';
import { loadPlatform } from '../../src/setup/platform.ts';
import { driverContract } from './driver.ts';
import { machinePlatformFolder, qemuDriver } from './driver-guest.ts';

const KVM_PROBE_LIMIT_MS = 60_000;

/** Why QEMU cannot be tried with an accelerator here, or false. */
async function cannotTry(accelerator: 'kvm' | 'tcg'): Promise<string | false> {
  try {
    const folder = machinePlatformFolder();
    const platform = await loadPlatform(folder);
    if (accelerator === 'tcg') return false;
    const { works, reason } = await probeKvm(folder, platform, AbortSignal.timeout(KVM_PROBE_LIMIT_MS));
    return works ? false : reason;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

for (const accelerator of ['tcg', 'kvm'] as const) {
  driverContract(accelerator, { makeDriver: () => qemuDriver(accelerator), skip: await cannotTry(accelerator) });
}
