// Which terminals this browser tab has open on a device: kept over a reload, gone with the tab.

const MOST = 8;

const keyOf = (device: string) => `murmesh.terminals.${device}`;

export function keptTerminals(device: string, store: Storage = sessionStorage): string[] {
	try {
		const kept: unknown = JSON.parse(store.getItem(keyOf(device)) ?? '[]');
		return Array.isArray(kept) ? kept.filter((id) => typeof id === 'string' && /^[0-9a-f]{32}$/.test(id)).slice(0, MOST) : [];
	} catch {
		return [];
	}
}

export function keepTerminals(device: string, ids: string[], store: Storage = sessionStorage): void {
	if (ids.length) store.setItem(keyOf(device), JSON.stringify(ids.slice(0, MOST)));
	else store.removeItem(keyOf(device));
}

export { MOST as MOST_TERMINALS };
