// The theme's colours as a canvas can use them: custom properties with light-dark() are resolved by an element that shows them.

/** Token names without `--`, in the theme in which `where` stands. */
export function colorsOf<Name extends string>(where: Element, names: readonly Name[]): Record<Name, string> {
	const probe = document.createElement('span');
	probe.hidden = true;
	where.append(probe);
	const found = {} as Record<Name, string>;
	for (const name of names) {
		probe.style.color = `var(--${name})`;
		found[name] = getComputedStyle(probe).color;
	}
	probe.remove();
	return found;
}

/** Calls `changed` when the page's colours become others; returns what ends it. */
export function watchColors(changed: () => void): () => void {
	const dark = matchMedia('(prefers-color-scheme: dark)');
	const chosen = new MutationObserver(changed);
	chosen.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] });
	dark.addEventListener('change', changed);
	return () => {
		chosen.disconnect();
		dark.removeEventListener('change', changed);
	};
}
