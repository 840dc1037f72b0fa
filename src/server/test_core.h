/* server/test_core.h: core's services over real connections, with a real database and its worker.  The test is the web role, the link role
 * and the hash role.  At the start there are the user `local` and the device web01-1 (id 7). */
#ifndef SERVER_TEST_CORE_H
#define SERVER_TEST_CORE_H
#include "account/login.h"
#include "account/session.h"
#include "server/core.h"
#include "store/testing.h"

#define TEST_ROWS_MAX 64
#define TEST_ROW_SIZE 8192

struct test_core {
	struct core core;
	struct test_store files;
	struct rpc_connection *web, *link, *hash; /* our ends */
	/* the last answer */
	const struct rpc_method *asked;
	int err;
	char why[256];
	union {
		murmesh_SessionReply session;
		murmesh_Account account;
		murmesh_TotpSecret totp;
		murmesh_Done nothing;
		murmesh_DevicesChanged changed;
		murmesh_DeviceDetail detail;
		murmesh_JoinKey key;
		murmesh_User user;
		murmesh_UserLink link;
		murmesh_AuditVerdict verdict;
		murmesh_SignedDocument document;
		uint8_t bytes[65536];
	} reply;
	/* of the stream begun last, and its end */
	const struct rpc_method *streamed;
	uint8_t rows[TEST_ROWS_MAX][TEST_ROW_SIZE];
	size_t n_rows, wanted;
	bool over, done;
	int end_err;
	char end_why[256];
	struct rpc_call *stream;
	struct {
		struct rpc_connection *ca, *relay, *viz; /* their ends */
		murmesh_SignRequest sign;
		murmesh_IssueRequest issue;
		murmesh_Announcement pair;
		murmesh_PairName closed;
		unsigned n_closed, n_ended;
		struct rpc_call *pairs; /* Relay.Watch; NULL: nobody watches */
		unsigned n_refused;     /* so many ends of watches fail */
		murmesh_WatchAnnouncement watch;
		murmesh_WatchesEnd ended;
	} told;
	murmesh_Frame frame; /* of the device link, the last */
	bool welcome;        /* of the device link that came last */
	int link_err;        /* 1 = it is open */
};

int test_core_setup(void **state);
/* Also the roles ca, relay and viz, which do what they are told and remember it in f->told. */
void test_core_roles(struct test_core *f);
int test_core_teardown(void **state);

/* A unary call by the console; through link by that user.  The error, and f->reply. */
int test_ask(struct test_core *f, const struct rpc_method *method, const void *request);
int test_ask_as(struct test_core *f, const struct id *user, const struct rpc_method *method, const void *request);
/* Begins a stream: by the console; through link by that user. */
void test_stream(struct test_core *f, const struct rpc_method *method, const void *request);
void test_stream_as(struct test_core *f, const struct id *user, const struct rpc_method *method, const void *request);
void test_rows_await(struct test_core *f, size_t n);
int test_end_await(struct test_core *f); /* how it ended */

/* Something in the database itself, as a job of its own. */
void test_directly(struct test_core *f, int (*body)(struct store_tx *tx, void *ctx), void *ctx);
/* Sessions of `local`; of root, the first administrator, whom it makes; of a new user. */
void test_login_local(struct test_core *f, uint8_t ret_session[32]);
void test_login_root(struct test_core *f, uint8_t ret_session[32]);
void test_login_new(struct test_core *f, const struct user *user, uint8_t ret_session[32]);
int test_step_up(struct test_core *f, const uint8_t session[32], const char *password);
/* A device's control link, after its welcome; it ends by rpc_call_cancel(), or with f->link_err set. */
struct rpc_call *test_device_link(struct test_core *f, uint8_t number);
void test_device_add(struct test_core *f, uint8_t number, const char *name, const char *group, const char *tag);
#endif
