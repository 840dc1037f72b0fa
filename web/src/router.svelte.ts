// Which page the address names.  Links are plain <a href>; clicks on them stay in the page.

export type PageName = 'fleet' | 'device' | 'terminal' | 'live' | 'maps' | 'relays' | 'people' | 'audit' | 'tasks' | 'approvals' | 'login' | 'me' | 'command-line' | 'missing';

export interface Route {
	page: PageName;
	/** Device, where the page has one, else "". */
	device: string;
}

const ROUTES: [RegExp, PageName][] = [
	[/^\/$/, 'fleet'],
	[/^\/devices\/([0-9a-f]{32})\/?$/, 'device'],
	[/^\/devices\/([0-9a-f]{32})\/terminal\/?$/, 'terminal'],
	[/^\/devices\/([0-9a-f]{32})\/live\/?$/, 'live'],
	[/^\/live\/?$/, 'live'],
	[/^\/maps\/?$/, 'maps'],
	[/^\/relays\/?$/, 'relays'],
	[/^\/people\/?$/, 'people'],
	[/^\/audit\/?$/, 'audit'],
	[/^\/tasks\/?$/, 'tasks'],
	[/^\/approvals\/?$/, 'approvals'],
	[/^\/login\/?$/, 'login'],
	[/^\/me\/?$/, 'me'],
	[/^\/command-line\/?$/, 'command-line'],
];

export function routeOf(path: string): Route {
	for (const [pattern, page] of ROUTES) {
		const match = pattern.exec(path);
		if (match) return { page, device: match[1] ?? '' };
	}
	return { page: 'missing', device: '' };
}

class Location {
	path = $state(location.pathname);
	search = $state(location.search);
	hash = $state(location.hash);
	route = $derived(routeOf(this.path));
	query = $derived(new URLSearchParams(this.search));

	read(): void {
		this.path = location.pathname;
		this.search = location.search;
		this.hash = location.hash;
	}
}

export const here = new Location();

export function navigate(to: string, { replace = false } = {}): void {
	history[replace ? 'replaceState' : 'pushState'](null, '', to);
	const before = here.path;
	here.read();
	if (here.path !== before) document.getElementById('main')?.scrollTo(0, 0);
}

/** Sets or (value "") removes parameters of the address without a new entry in the history. */
export function setParameters(values: Record<string, string>): void {
	const parameters = new URLSearchParams(location.search);
	for (const [name, value] of Object.entries(values)) {
		if (value) parameters.set(name, value);
		else parameters.delete(name);
	}
	const text = parameters.toString();
	navigate(location.pathname + (text && `?${text}`) + location.hash, { replace: true });
}

export function startRouter(): void {
	addEventListener('popstate', () => here.read());
	document.addEventListener('click', (event) => {
		if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
		const anchor = (event.target as Element | null)?.closest('a');
		if (!anchor || anchor.origin !== location.origin || anchor.target || anchor.hasAttribute('download')) return;
		if (anchor.getAttribute('href')?.startsWith('#') || anchor.pathname.startsWith('/api')) return;
		event.preventDefault();
		navigate(anchor.pathname + anchor.search + anchor.hash);
	});
}
