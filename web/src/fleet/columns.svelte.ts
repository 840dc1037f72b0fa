// Which columns the fleet list shows, and how wide each is.
import type { SortColumn } from './view';

const KEY = 'murmesh.columns';

const CHECKBOX = 36;

/** Least width in pixels, and what share of the rest it takes (0 = none). */
const WIDTHS: Record<SortColumn, [least: number, share: number]> = {
	name: [150, 2.2],
	state: [86, 0],
	group: [80, 1],
	tags: [110, 1.5],
	os: [130, 1.5],
	version: [84, 0],
	seen: [104, 0],
};

/** Where there is no place for all, the last of these go first. */
const RANKING: SortColumn[] = ['name', 'state', 'seen', 'tags', 'group', 'os', 'version'];

export const COLUMNS = Object.keys(WIDTHS) as SortColumn[];

function stored(): SortColumn[] {
	const hidden = (localStorage.getItem(KEY) ?? '').split(' ');
	return COLUMNS.filter((column) => hidden.includes(column) && column !== 'name');
}

export const columns = $state<{ hidden: SortColumn[] }>({ hidden: stored() });

export function toggleColumn(column: SortColumn): void {
	columns.hidden = columns.hidden.includes(column) ? columns.hidden.filter((each) => each !== column) : [...columns.hidden, column];
	localStorage.setItem(KEY, columns.hidden.join(' '));
}

/** Those that are wanted and fit into so many pixels. */
export function shownColumns(width: number): SortColumn[] {
	const fitting = new Set<SortColumn>();
	let left = width - CHECKBOX;
	for (const column of RANKING) {
		if (columns.hidden.includes(column)) continue;
		left -= WIDTHS[column][0];
		if (left < 0 && column !== 'name') break;
		fitting.add(column);
	}
	return COLUMNS.filter((column) => fitting.has(column));
}

export function template(shown: SortColumn[]): string {
	const widths = shown.map((column) => {
		const [least, share] = WIDTHS[column];
		return share ? `minmax(${least}px, ${share}fr)` : `${least}px`;
	});
	return [`${CHECKBOX}px`, ...widths].join(' ');
}
