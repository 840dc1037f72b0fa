// Dark, light, or as the system says.
export type Theme = 'auto' | 'dark' | 'light';

const KEY = 'murmesh.theme';

function stored(): Theme {
	const value = localStorage.getItem(KEY);
	return value === 'dark' || value === 'light' ? value : 'auto';
}

export const theme = $state<{ chosen: Theme }>({ chosen: 'auto' });

export function setTheme(chosen: Theme): void {
	theme.chosen = chosen;
	localStorage.setItem(KEY, chosen);
	document.documentElement.dataset.theme = chosen;
}

export function startTheme(): void {
	setTheme(stored());
}
