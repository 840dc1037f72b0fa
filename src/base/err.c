#include "base/err.h"

#include <strings.h>

#include "base/str.h"

static const struct row {
	int code;
	const char *name, *text, *remedy;
} rows[] = {
#define ERR(code, number, text, remedy) { number, "E" #number, text, remedy },
#include "base/err.def"
#undef ERR
};

static const struct row *find(int err)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (rows[i].code == err || -rows[i].code == err)
			return &rows[i];
	return NULL;
}

/* The kernel's number without its sign; any number may come from a peer, also one that has no opposite. */
static int kernel_number(int err)
{
	return err < 0 && err > -E_FIRST ? -err : err;
}

const char *err_name(int err)
{
	const struct row *row = find(err);
	const char *known = row ? NULL : strerrorname_np(kernel_number(err));
	return row ? row->name : known ? known : "E1011";
}

const char *err_text(int err)
{
	const struct row *row = find(err);
	const char *known = row ? NULL : strerrordesc_np(kernel_number(err));
	return row ? row->text : known ? known : "unknown error";
}

const char *err_try(int err)
{
	const struct row *row = find(err);
	return row ? row->remedy : NULL;
}

int err_from_name(const char *name)
{
	uint64_t number;
	struct str digits = str_from(name);
	if (digits.len && (digits.ptr[0] | 32) == 'e')
		digits = str_skip(digits, 1);
	return str_to_u64(digits, 9999, &number) == 0 && find((int)number) ? (int)number : 0;
}

int err_next(int err)
{
	if (err == 0)
		return rows[0].code;
	const struct row *row = find(err);
	return row && row + 1 < rows + sizeof rows / sizeof *rows ? row[1].code : 0;
}

int err_known(int err)
{
	return find(err) != NULL;
}
