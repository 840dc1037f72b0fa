// The rows of the list as a file.
import { dateTime } from '../ui/text';
import { csv, download } from './csv';
import type { Entry } from './store';

const HEAD = ['id', 'name', 'full_name', 'online', 'group', 'tags', 'os', 'arch', 'version', 'parent', 'last_seen'];

export function exportCsv(entries: readonly Entry[]): void {
	const rows = entries.map(({ row: { device } }) => [
		device.id,
		device.name,
		device.full_name,
		device.online ? 'yes' : 'no',
		device.group,
		device.tags.join(' '),
		device.os,
		device.arch,
		device.version,
		device.parent,
		device.last_seen ? new Date(device.last_seen * 1000).toISOString() : '',
	]);
	download(`fleet-${dateTime(Date.now() / 1000).slice(0, 10)}.csv`, csv([HEAD, ...rows]));
}
