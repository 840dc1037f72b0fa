/* base/list.h: intrusive doubly linked list.  The list owns nothing.  A node in no list points to itself. */
#ifndef BASE_LIST_H
#define BASE_LIST_H
#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next, *prev;
};

#define LIST_INIT(l)                                                                                                               \
	{                                                                                                                          \
		&(l), &(l)                                                                                                         \
	}
#define LIST_ENTRY(node, type, member) ((type *)((char *)(node)-offsetof(type, member)))
/* The body may remove the current node. */
#define LIST_EACH(at, head)                                                                                                        \
	for (struct list *at = (head)->next, *at##_next = at->next; at != (head); at = at##_next, at##_next = at->next)

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}
static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}
static inline void list_append(struct list *head, struct list *node)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}
static inline void list_remove(struct list *node)
{
	node->next->prev = node->prev;
	node->prev->next = node->next;
	list_init(node);
}
/* Puts all that is in from at the end of head. */
static inline void list_move(struct list *head, struct list *from)
{
	if (list_empty(from))
		return;
	head->prev->next = from->next;
	from->next->prev = head->prev;
	from->prev->next = head;
	head->prev = from->prev;
	list_init(from);
}
#endif
