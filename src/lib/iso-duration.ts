/** Seconds as an ISO 8601 duration in the form AWS's texts use: `PT5M`, `PT1M30S`, `PT2H`. */
export function isoDuration(totalSeconds: number): string {
  const hours = Math.floor(totalSeconds / 3600);
  const minutes = Math.floor((totalSeconds % 3600) / 60);
  const seconds = totalSeconds % 60;
  const parts = [hours > 0 ? `${hours}H` : '', minutes > 0 ? `${minutes}M` : '', seconds > 0 || totalSeconds === 0 ? `${seconds}S` : ''];
  return `PT${parts.join('')}`;
}
