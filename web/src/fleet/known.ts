// Groups and tags that the fleet has, for the fields where one is chosen.
import { fleet } from './fleet.svelte';

export function knownGroups(): string[] {
	const groups = new Set<string>();
	for (const { row } of fleet.entries) if (row.device.group) groups.add(row.device.group);
	return [...groups].sort();
}

export function knownTags(): string[] {
	const counts = new Map<string, number>();
	for (const { row } of fleet.entries) for (const tag of row.device.tags) counts.set(tag, (counts.get(tag) ?? 0) + 1);
	return [...counts].sort((a, b) => b[1] - a[1]).map(([tag]) => tag);
}
