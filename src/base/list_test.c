#include "base/list.h"
#include "base/test.h"

struct item {
	int number;
	struct list node;
};

static int sum(struct list *head)
{
	int digits = 0;
	LIST_EACH(at, head)
		digits = digits * 10 + LIST_ENTRY(at, struct item, node)->number;
	return digits;
}

static void test_list(void **state)
{
	(void)state;
	struct list head = LIST_INIT(head);
	struct item items[3];
	assert_true(list_empty(&head));
	assert_int_equal(sum(&head), 0);
	for (int i = 0; i < 3; i++) {
		items[i].number = i + 1;
		list_init(&items[i].node);
		assert_true(list_empty(&items[i].node));
		list_append(&head, &items[i].node);
	}
	assert_int_equal(sum(&head), 123);
	list_remove(&items[1].node);
	assert_int_equal(sum(&head), 13);
	assert_true(list_empty(&items[1].node));
	list_remove(&items[1].node); /* of no list: nothing happens */
	list_append(&head, &items[1].node);
	assert_int_equal(sum(&head), 132);
	for (struct list *at = head.prev; at != &head; at = at->prev)
		assert_ptr_equal(at->next->prev, at);
	LIST_EACH(at, &head)
		list_remove(at);
	assert_true(list_empty(&head));
}

static void test_move(void **state)
{
	(void)state;
	struct list head = LIST_INIT(head), from = LIST_INIT(from);
	struct item items[4];
	for (int i = 0; i < 4; i++)
		items[i].number = i + 1;
	list_move(&head, &from);
	assert_true(list_empty(&head) && list_empty(&from));
	list_append(&from, &items[0].node);
	list_append(&from, &items[1].node);
	list_move(&head, &from);
	assert_true(list_empty(&from));
	list_append(&from, &items[2].node);
	list_append(&from, &items[3].node);
	list_move(&head, &from);
	list_move(&head, &from);
	assert_int_equal(sum(&head), 1234);
	for (struct list *at = head.prev; at != &head; at = at->prev)
		assert_ptr_equal(at->next->prev, at);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_list), cmocka_unit_test(test_move) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
