export const people = { title: '' };
