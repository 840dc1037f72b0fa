// Searches that somebody keeps, in this browser.
export interface SavedView {
	name: string;
	query: string;
}

const KEY = 'murmesh.views';

function stored(): SavedView[] {
	try {
		const value: unknown = JSON.parse(localStorage.getItem(KEY) ?? '[]');
		if (!Array.isArray(value)) return [];
		return value.filter((view) => typeof view?.name === 'string' && typeof view?.query === 'string') as SavedView[];
	} catch {
		return [];
	}
}

export const views = $state<{ list: SavedView[] }>({ list: stored() });

function keep(list: SavedView[]): void {
	views.list = list;
	localStorage.setItem(KEY, JSON.stringify(list));
}

export function saveView(name: string, query: string): void {
	keep([...views.list.filter((view) => view.name !== name), { name, query }].sort((a, b) => (a.name < b.name ? -1 : 1)));
}

export function removeView(name: string): void {
	keep(views.list.filter((view) => view.name !== name));
}
