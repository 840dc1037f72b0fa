export const device = { title: '' };
