// Which columns the fleet list shows, and how wide each is.
import type { SortColumn } from './view';

const KEY = 'murmesh.columns';

const WIDTHS: Record<SortColumn, string> = {
	name: 'minmax(150px, 2.2fr)',
	state: '86px',
	group: 'minmax(80px, 1fr)',
	tags: 'minmax(110px, 1.5fr)',
	os: 'minmax(130px, 1.5fr)',
	version: '84px',
	seen: '104px',
};

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

/** Those that fit: on a narrow screen name, state and time only. */
export function shownColumns(narrow: boolean): SortColumn[] {
	const fitting: SortColumn[] = narrow ? ['name', 'state', 'seen'] : COLUMNS;
	return fitting.filter((column) => !columns.hidden.includes(column));
}

export function template(shown: SortColumn[], narrow: boolean): string {
	const widths = shown.map((column) => (column === 'name' && narrow ? 'minmax(0, 1fr)' : column === 'seen' && narrow ? '84px' : WIDTHS[column]));
	return ['36px', ...widths].join(' ');
}
