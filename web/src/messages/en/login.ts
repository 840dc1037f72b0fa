export const login = { title: '' };
