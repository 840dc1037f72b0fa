/* Parsers of what the kernel says about processes. */
#include "base/test.h"

#include <fcntl.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/netlink.h>
#include <time.h>

#include "probe/modules/process/process.h"

struct packet {
	struct nlmsghdr header;
	struct cn_msg message;
	struct proc_event event;
} __attribute__((packed, aligned(4)));

static struct packet packet_make(unsigned what, uint32_t cpu, uint32_t sequence)
{
	struct packet packet = { 0 };
	packet.header.nlmsg_len = sizeof packet;
	packet.message.id.idx = CN_IDX_PROC;
	packet.message.id.val = CN_VAL_PROC;
	packet.message.seq = sequence;
	packet.message.len = sizeof packet.event;
	packet.event.what = what;
	packet.event.cpu = cpu;
	packet.event.timestamp_ns = 123456789;
	return packet;
}

static bool parse(const struct packet *packet, size_t len, struct process_event *ret)
{
	void *copy = malloc(len ? len : 1); /* of exactly this length: reading beyond is found by a sanitizer */
	memcpy(copy, packet, len);
	struct str rest = { copy, len };
	bool ok = connector_parse(&rest, ret);
	free(copy);
	return ok;
}

static void test_events(void **state)
{
	struct process_event event;
	struct packet packet = packet_make(PROC_EVENT_FORK, 3, 77);
	(void)state;
	packet.event.event_data.fork.parent_pid = 11;
	packet.event.event_data.fork.parent_tgid = 10;
	packet.event.event_data.fork.child_pid = packet.event.event_data.fork.child_tgid = 12;
	assert_true(parse(&packet, sizeof packet, &event));
	assert_int_equal(event.kind, PROCESS_FORK);
	assert_int_equal(event.pid, 12);
	assert_int_equal(event.parent, 10);
	assert_int_equal(event.cpu, 3);
	assert_int_equal(event.sequence, 77);
	assert_int_equal(event.time_ns, 123456789);
	packet.event.event_data.fork.child_pid = 13; /* a thread */
	assert_true(parse(&packet, sizeof packet, &event));
	assert_int_equal(event.kind, PROCESS_OTHER);

	packet = packet_make(PROC_EVENT_EXIT, 0, 1);
	packet.event.event_data.exit.process_pid = packet.event.event_data.exit.process_tgid = 12;
	packet.event.event_data.exit.exit_code = 3 << 8;
	assert_true(parse(&packet, sizeof packet, &event));
	assert_int_equal(event.kind, PROCESS_EXIT);
	assert_int_equal(event.code, 3);
	assert_int_equal(event.signal, 0);
	packet.event.event_data.exit.exit_code = 0x80 | 11; /* with a core dump */
	assert_true(parse(&packet, sizeof packet, &event));
	assert_int_equal(event.signal, 11);
	packet.event.event_data.exit.process_pid = 99;
	assert_true(parse(&packet, sizeof packet, &event));
	assert_int_equal(event.kind, PROCESS_OTHER);

	packet = packet_make(PROC_EVENT_UID, 0, 1);
	assert_true(parse(&packet, sizeof packet, &event));
	assert_int_equal(event.kind, PROCESS_OTHER);
}

static void test_malformed(void **state)
{
	struct process_event event;
	struct packet packet = packet_make(PROC_EVENT_EXEC, 0, 1), wrong;
	(void)state;
	for (size_t len = 0; len < sizeof packet; len++)
		assert_false(parse(&packet, len, &event));
	wrong = packet;
	wrong.header.nlmsg_len = 3;
	assert_false(parse(&wrong, sizeof wrong, &event));
	wrong.header.nlmsg_len = UINT32_MAX;
	assert_false(parse(&wrong, sizeof wrong, &event));
	wrong = packet;
	wrong.message.id.idx++;
	assert_false(parse(&wrong, sizeof wrong, &event));
	wrong = packet;
	wrong.message.len = UINT16_MAX;
	assert_false(parse(&wrong, sizeof wrong, &event));
	wrong.message.len = 4;
	assert_false(parse(&wrong, sizeof wrong, &event));
}

static void test_two_in_one(void **state)
{
	struct packet packets[2] = { packet_make(PROC_EVENT_EXEC, 0, 1), packet_make(PROC_EVENT_EXEC, 0, 2) };
	struct str rest = { (const char *)packets, sizeof packets };
	struct process_event event;
	(void)state;
	assert_true(connector_parse(&rest, &event) && event.sequence == 1);
	assert_true(connector_parse(&rest, &event) && event.sequence == 2);
	assert_false(connector_parse(&rest, &event));
}

static uint32_t missed(struct connector_loss *loss, uint32_t cpu, uint32_t sequence)
{
	const struct process_event event = { .cpu = cpu, .sequence = sequence };
	return connector_missed(loss, &event);
}

static void test_loss_by_processor(void **state)
{
	static struct connector_loss loss;
	(void)state;
	assert_int_equal(missed(&loss, 0, 100), 0);
	assert_int_equal(missed(&loss, 1, UINT32_MAX), 0);
	assert_int_equal(missed(&loss, 0, 101), 0);
	assert_int_equal(missed(&loss, 0, 105), 3);
	assert_int_equal(missed(&loss, 1, 2), 2); /* 0 and 1 */
	assert_int_equal(missed(&loss, 0, 106), 0);
	assert_int_equal(missed(&loss, UINT32_MAX, 5), 0);
	assert_int_equal(missed(&loss, UINT32_MAX, 50), 0);
}

static void assert_redacted(const char *arguments, size_t len, const char *expected)
{
	char text[256];
	memcpy(text, arguments, len);
	size_t kept = proc_redact(text, len);
	assert_true(kept <= len);
	for (size_t i = 0; i + 1 < kept; i++)
		if (!text[i])
			text[i] = ' ';
	text[kept ? kept - 1 : 0] = 0;
	assert_string_equal(text, expected);
}

#define REDACTED(arguments, expected) assert_redacted("" arguments, sizeof(arguments), expected)

static void test_secrets(void **state)
{
	(void)state;
	REDACTED("ls\0-l", "ls -l");
	REDACTED("x\0--password=hunter2\0y", "x --password=*** y");
	REDACTED("x\0--password\0hunter2\0y", "x --password *** y");
	REDACTED("x\0--password\0--verbose", "x --password --verbose");
	REDACTED("env\0DB_PASSWORD=a\0API_TOKEN=abcdef\0run", "env DB_PASSWORD=* API_TOKEN=*** run");
	REDACTED("x\0--Client-Secret=abc=def", "x --Client-Secret=***");
	REDACTED("x\0--secret=", "x --secret=");
	REDACTED("cat\0/etc/passwd\0file", "cat /etc/passwd file");
	REDACTED("", "");
}

static void test_own_status(void **state)
{
	struct process_status status;
	char exe[64] = "", arguments[401];
	int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	(void)state;
	assert_int_equal(proc_status(proc, (uint32_t)getpid(), &status), 0);
	assert_int_equal(status.parent, getppid());
	assert_int_equal(status.uid, geteuid());
	assert_false(status.kernel);
	assert_true(status.start_ms / 1000 <= (uint64_t)time(NULL) + 1 && status.start_ms / 1000 + 600 > (uint64_t)time(NULL));
	struct str text = proc_arguments(proc, (uint32_t)getpid(), exe, sizeof exe, arguments, sizeof arguments);
	assert_true(str_has(text, 't'));
	assert_true(proc_status(proc, 0, &status) < 0);
	close(proc);
}

static void on_pid(void *ctx, uint32_t pid)
{
	*(unsigned *)ctx += pid == (uint32_t)getpid();
}

static void test_each(void **state)
{
	int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	unsigned found = 0;
	(void)state;
	size_t before = test_descriptors();
	assert_int_equal(proc_each(proc, on_pid, &found), 0);
	assert_int_equal(found, 1);
	assert_int_equal(test_descriptors(), before);
	close(proc);
	assert_true(proc_each(proc, on_pid, &found) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_events),     cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_two_in_one), cmocka_unit_test(test_loss_by_processor),
		cmocka_unit_test(test_secrets),    cmocka_unit_test(test_own_status),
		cmocka_unit_test(test_each),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
