#include "account/totp.h"

#include "base/err.h"
#include "base/test.h"

/* RFC 6238 appendix B, SHA-1, the last six of its eight digits. */
static const uint8_t secret[TOTP_SECRET_SIZE] = "12345678901234567890";
static const struct {
	int64_t time;
	const char *code;
} vectors[] = { { 59, "287082" },         { 1111111109, "081804" }, { 1111111111, "050471" },
	        { 1234567890, "005924" }, { 2000000000, "279037" }, { 20000000000, "353130" } };

static void test_vectors(void **state)
{
	(void)state;
	int64_t counter;
	for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
		struct str code = str_from(vectors[i].code);
		int64_t step = vectors[i].time / 30;
		assert_int_equal(totp_check(secret, code, vectors[i].time, 0, &counter), 0);
		assert_int_equal(counter, step);
		/* one step each way, not two */
		assert_int_equal(totp_check(secret, code, (step + 1) * 30, 0, &counter), 0);
		assert_int_equal(counter, step);
		assert_int_equal(totp_check(secret, code, step * 30 - 1, 0, &counter), 0);
		assert_int_equal(counter, step);
		assert_int_equal(totp_check(secret, code, (step + 2) * 30, 0, &counter), -E_LOGIN);
		/* once */
		assert_int_equal(totp_check(secret, code, vectors[i].time, step - 1, &counter), 0);
		assert_int_equal(totp_check(secret, code, vectors[i].time, step, &counter), -E_LOGIN);
		assert_int_equal(totp_check(secret, code, vectors[i].time, step + 1, &counter), -E_LOGIN);
	}
}

static void test_other_texts(void **state)
{
	(void)state;
	static const char *const bad[] = { "", "28708", "2870820", "94287082", "28708a", " 87082", "-87082", "287083", "000000" };
	int64_t counter;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(totp_check(secret, str_from(bad[i]), 59, 0, &counter), -E_LOGIN);
	assert_int_equal(totp_check(secret, STR("287082"), -1, 0, &counter), -E_LOGIN);
}

static void test_texts(void **state)
{
	(void)state;
	char text[TOTP_TEXT_SIZE], uri[TOTP_URI_SIZE];
	totp_text(secret, text);
	assert_string_equal(text, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
	totp_uri(secret, "eve", uri);
	assert_string_equal(uri, "otpauth://totp/murmesh:eve?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=murmesh");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_vectors), cmocka_unit_test(test_other_texts),
		                            cmocka_unit_test(test_texts) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
