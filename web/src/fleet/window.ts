// Which rows of a long list are drawn, and how the list changes without moving the row under the cursor.  Lengths in pixels.

export interface Window {
	first: number;
	/** Behind the last. */
	end: number;
}

export const OVERSCAN = 8;
/** Around rows that all have to be drawn anew: at the top, where a filter leads, and where the scrollbar jumped to. */
export const OVERSCAN_ANEW = 2;

export function overscan(before: number, scrollTop: number, height: number): number {
	return scrollTop === 0 || Math.abs(scrollTop - before) > height ? OVERSCAN_ANEW : OVERSCAN;
}

export function visibleWindow(count: number, rowHeight: number, scrollTop: number, height: number, around: number): Window {
	const first = Math.max(0, Math.min(count, Math.floor(scrollTop / rowHeight)) - around);
	const end = Math.min(count, Math.ceil((scrollTop + height) / rowHeight) + around);
	return { first, end: Math.max(first, end) };
}

/** The most rows that are drawn at once. */
export function windowSize(rowHeight: number, height: number): number {
	return Math.ceil(height / rowHeight) + 2 * OVERSCAN + 1;
}

/** Where to scroll so that a row is whole in view below a head of `head` pixels; the same place when it is already. */
export function scrollToShow(index: number, rowHeight: number, scrollTop: number, height: number): number {
	const top = index * rowHeight;
	if (top < scrollTop) return top;
	if (top + rowHeight > scrollTop + height) return top + rowHeight - height;
	return scrollTop;
}

export interface Anchored {
	/** False: the new order would move the row under the cursor; keep the old one for now. */
	apply: boolean;
	scrollTop: number;
}

/** `before` and `after`: the place of the row under the cursor in both orders, -1 = none. */
export function anchor(
	before: number,
	after: number,
	{ count, rowHeight, scrollTop, height }: { count: number; rowHeight: number; scrollTop: number; height: number },
): Anchored {
	const limit = Math.max(0, count * rowHeight - height);
	if (before < 0) return { apply: true, scrollTop: Math.min(scrollTop, limit) };
	if (after < 0) return { apply: false, scrollTop };
	const wanted = scrollTop + (after - before) * rowHeight;
	if (wanted < 0 || wanted > limit) return { apply: before === after, scrollTop };
	return { apply: true, scrollTop: wanted };
}
