// Single-key shortcuts, which people can turn off (WCAG 2.1.4).
const KEY = 'murmesh.keys';

export const keys = $state<{ enabled: boolean }>({ enabled: localStorage.getItem(KEY) !== 'off' });

export function enableKeys(enabled: boolean): void {
	keys.enabled = enabled;
	localStorage.setItem(KEY, enabled ? 'on' : 'off');
}

/** Whether a key press is meant for the page and not for a field or dialog. */
export function isShortcut(event: KeyboardEvent): boolean {
	if (!keys.enabled || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return false;
	const target = event.target as Element;
	return !target.closest('input:not([type=checkbox]), textarea, select, dialog, [contenteditable]');
}
