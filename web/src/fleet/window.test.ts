import { expect, test } from 'vitest';
import { anchor, OVERSCAN, OVERSCAN_ANEW, overscan, scrollToShow, visibleWindow } from './window';

test('the window holds what is in view and a few more', () => {
	expect(visibleWindow(100_000, 34, 0, 340, 2)).toEqual({ first: 0, end: 12 });
	expect(visibleWindow(100_000, 34, 1, 340, 8)).toEqual({ first: 0, end: 19 });
	expect(visibleWindow(100_000, 34, 34_017, 340, 8)).toEqual({ first: 992, end: 1019 });
	expect(visibleWindow(100_000, 34, 3_399_660, 340, 8)).toEqual({ first: 99_982, end: 100_000 });
	expect(visibleWindow(0, 34, 0, 340, 2)).toEqual({ first: 0, end: 0 });
	// The list became shorter than where it was scrolled to.
	expect(visibleWindow(5, 34, 3400, 340, 8)).toEqual({ first: 0, end: 5 });
});

test('only what stays in view for the next frames is drawn ahead', () => {
	expect(overscan(0, 120, 340)).toBe(OVERSCAN);
	expect(overscan(500, 160, 340)).toBe(OVERSCAN);
	expect(overscan(0, 11_000, 340)).toBe(OVERSCAN_ANEW);
	expect(overscan(11_000, 0, 340)).toBe(OVERSCAN_ANEW);
	expect(overscan(0, 0, 340)).toBe(OVERSCAN_ANEW);
});

test('scrolling shows a row with the least movement', () => {
	expect(scrollToShow(5, 34, 0, 340)).toBe(0);
	expect(scrollToShow(10, 34, 0, 340)).toBe(34);
	expect(scrollToShow(2, 34, 340, 340)).toBe(68);
});

const view = { count: 1000, rowHeight: 34, scrollTop: 340, height: 340 };

test('the row under the cursor stays where it is on the screen', () => {
	expect(anchor(15, 17, view)).toEqual({ apply: true, scrollTop: 408 });
	expect(anchor(15, 12, view)).toEqual({ apply: true, scrollTop: 238 });
	expect(anchor(15, 15, view)).toEqual({ apply: true, scrollTop: 340 });
});

test('an order that cannot keep it there has to wait', () => {
	expect(anchor(15, 2, view).apply).toBe(false);
	expect(anchor(15, -1, view).apply).toBe(false);
	expect(anchor(995, 999, { ...view, scrollTop: 33_660 }).apply).toBe(false);
	// Everything fits into the view: no scrolling can help.
	expect(anchor(1, 2, { count: 4, rowHeight: 34, scrollTop: 0, height: 340 }).apply).toBe(false);
	expect(anchor(1, 1, { count: 4, rowHeight: 34, scrollTop: 0, height: 340 }).apply).toBe(true);
});

test('without a cursor the new order comes at once, within its length', () => {
	expect(anchor(-1, -1, { ...view, count: 12 })).toEqual({ apply: true, scrollTop: 68 });
});
