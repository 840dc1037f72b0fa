#include "fleet/query.h"

#include "base/err.h"
#include "base/utf8.h"

enum { TERM, AND, OR };
enum { SUBSTRING, EXACT, PREFIX, PATTERN, YES_NO, LESS, MORE };
enum { ANY, NAME, GROUP, TAG, OS, ARCH, VERSION, ID, PARENT, ONLINE, SEEN };

static const struct field {
	const char *name;
	uint8_t match;
} fields[] = {
	[ANY] = { NULL, SUBSTRING },
	[NAME] = { "name", SUBSTRING },
	[GROUP] = { "group", EXACT },
	[TAG] = { "tag", EXACT },
	[OS] = { "os", SUBSTRING },
	[ARCH] = { "arch", EXACT },
	[VERSION] = { "version", SUBSTRING },
	[ID] = { "id", PREFIX },
	[PARENT] = { "parent", PREFIX },
	[ONLINE] = { "online", YES_NO },
	[SEEN] = { "seen", LESS },
};

static char lower(char c)
{
	return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

/* ---- parsing ---- */

struct parser {
	struct fleet_query *query;
	struct str text; /* of the query, in lower case */
	size_t at;
	unsigned depth;
	struct fleet_query_error *error;
};

static int wrong(struct parser *p, size_t at, const char *what)
{
	unsigned column = 1;
	for (size_t i = 0; i < at && i < p->text.len; i++)
		column += ((unsigned char)p->text.ptr[i] & 0xc0) != 0x80;
	*p->error = (struct fleet_query_error){ column, what };
	return -E_QUERY;
}

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* What stands next behind blanks; 0 at the end. */
static char next(struct parser *p)
{
	while (p->at < p->text.len && is_blank(p->text.ptr[p->at]))
		p->at++;
	return p->at < p->text.len ? p->text.ptr[p->at] : 0;
}

static struct str word_at(const struct parser *p, size_t at)
{
	size_t end = at;
	while (end < p->text.len && !is_blank(p->text.ptr[end]) && !strchr("()\"", p->text.ptr[end]))
		end++;
	return (struct str){ p->text.ptr + at, end - at };
}

static bool next_is(struct parser *p, const char *keyword)
{
	next(p);
	return str_is(word_at(p, p->at), keyword);
}

static uint8_t node_add(struct parser *p, uint8_t kind, uint8_t left, uint8_t right)
{
	p->query->nodes[p->query->n_nodes] = (struct fleet_query_node){ kind, left, right, false };
	return p->query->n_nodes++;
}

static int field_find(struct str name, uint8_t *ret)
{
	for (size_t i = NAME; i < sizeof fields / sizeof *fields; i++)
		if (str_is(name, fields[i].name)) {
			*ret = (uint8_t)i;
			return 0;
		}
	return -E_QUERY;
}

/* "<2h" */
static bool time_read(struct str value, struct fleet_query_term *term)
{
	static const struct {
		char unit;
		int seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { 'w', 604800 } };
	uint64_t number;
	if (value.len < 3 || value.len > 11 || !strchr("<>", value.ptr[0]) ||
	    str_to_u64((struct str){ value.ptr + 1, value.len - 2 }, UINT32_MAX, &number) < 0)
		return false;
	term->match = value.ptr[0] == '<' ? LESS : MORE;
	for (size_t i = 0; i < sizeof units / sizeof *units; i++)
		if (value.ptr[value.len - 1] == units[i].unit) {
			term->seconds = (int64_t)number * units[i].seconds;
			return true;
		}
	return false;
}

/* at: of the value, with its quote. */
static int term_check(struct parser *p, struct fleet_query_term *term, size_t at, bool quoted)
{
	struct str value = { p->text.ptr + term->start, term->len };
	term->match = fields[term->field].match;
	p->query->presence |= term->field == ONLINE || term->field == SEEN;
	if (term->field == ONLINE && !str_is(value, "yes") && !str_is(value, "no"))
		return wrong(p, at, "write online:yes or online:no");
	if (term->field == SEEN && !time_read(value, term))
		return wrong(p, at, "write a time like seen:<2h or seen:>7d");
	if (term->field != ONLINE && term->field != SEEN && !quoted && str_has(value, '*'))
		term->match = PATTERN;
	return 0;
}

/* p->at is at the opening quote. */
static int quoted_parse(struct parser *p, struct fleet_query_term *term)
{
	size_t start = p->at + 1;
	const char *end = memchr(p->text.ptr + start, '"', p->text.len - start);
	if (!end)
		return wrong(p, p->at, "the closing quote is missing");
	term->start = (uint16_t)start;
	term->len = (uint16_t)((size_t)(end - p->text.ptr) - start);
	p->at = start + term->len + 1;
	return 0;
}

/* Leaves p->at at the value. */
static int field_parse(struct parser *p, struct fleet_query_term *term)
{
	struct str rest, word = word_at(p, p->at), name = str_cut(word, ':', &rest);
	if (name.len == word.len)
		return 0;
	if (field_find(name, &term->field) < 0)
		return wrong(p, p->at, "there is no such field; put quotes around a text with a colon");
	p->at += name.len + 1;
	return 0;
}

static int term_parse(struct parser *p, uint8_t *ret)
{
	struct fleet_query_term term = { .field = ANY };
	if (p->query->n_terms == FLEET_QUERY_TERMS)
		return wrong(p, p->at, "too many terms");
	int err = field_parse(p, &term);
	if (err < 0)
		return err;
	size_t value = p->at;
	struct str word = word_at(p, value);
	bool quoted = !word.len && value < p->text.len && p->text.ptr[value] == '"';
	if (!quoted && !word.len)
		return wrong(p, value, "a value is missing");
	if (quoted)
		err = quoted_parse(p, &term);
	else {
		term.start = (uint16_t)value;
		term.len = (uint16_t)word.len;
		p->at += word.len;
	}
	if (err == 0)
		err = term_check(p, &term, value, quoted);
	if (err < 0)
		return err;
	p->query->terms[p->query->n_terms] = term;
	*ret = node_add(p, TERM, p->query->n_terms++, 0);
	return 0;
}

static int or_parse(struct parser *p, uint8_t *ret);

/* p->at is at the opening parenthesis. */
static int group_parse(struct parser *p, uint8_t *ret)
{
	size_t open = p->at++;
	if (p->depth++ == FLEET_QUERY_DEPTH)
		return wrong(p, open, "too deep");
	int err = or_parse(p, ret);
	if (err == 0 && next(p) != ')')
		err = wrong(p, open, "the closing parenthesis is missing");
	p->at++;
	p->depth--;
	return err;
}

static int not_parse(struct parser *p, uint8_t *ret)
{
	bool negated = false;
	char c;
	while ((c = next(p)) == '-' || next_is(p, "not")) {
		p->at += c == '-' ? 1 : 3;
		negated = !negated;
	}
	if (!c || c == ')' || next_is(p, "and") || next_is(p, "or"))
		return wrong(p, p->at, "something is missing here");
	int err = c == '(' ? group_parse(p, ret) : term_parse(p, ret);
	if (err == 0)
		p->query->nodes[*ret].negated ^= negated;
	return err;
}

static int and_parse(struct parser *p, uint8_t *ret)
{
	uint8_t right;
	int err = not_parse(p, ret);
	while (err == 0 && next(p) && next(p) != ')' && !next_is(p, "or")) {
		if (next_is(p, "and"))
			p->at += 3;
		err = not_parse(p, &right);
		if (err == 0)
			*ret = node_add(p, AND, *ret, right);
	}
	return err;
}

static int or_parse(struct parser *p, uint8_t *ret)
{
	uint8_t right;
	int err = and_parse(p, ret);
	while (err == 0 && next_is(p, "or")) {
		p->at += 2;
		err = and_parse(p, &right);
		if (err == 0)
			*ret = node_add(p, OR, *ret, right);
	}
	return err;
}

int fleet_query_parse(struct str text, struct fleet_query *ret, struct fleet_query_error *reterr)
{
	struct parser p = { .query = ret, .error = reterr };
	uint8_t top; /* the last node */
	*ret = (struct fleet_query){ 0 };
	*reterr = (struct fleet_query_error){ FLEET_QUERY_MAX + 1, "too long" };
	if (text.len > FLEET_QUERY_MAX)
		return -E_QUERY;
	if (!utf8_valid(text) || str_has(text, 0))
		return wrong(&p, 0, "not a text");
	for (size_t i = 0; i < text.len; i++)
		ret->text[i] = lower(text.ptr[i]);
	p.text = (struct str){ ret->text, text.len };
	int err = next(&p) ? or_parse(&p, &top) : 0;
	if (err == 0 && next(&p))
		err = wrong(&p, p.at, "the opening parenthesis is missing");
	return err;
}

/* ---- matching ---- */

/* Values are in lower case already. */
static bool begins(struct str value, const char *text)
{
	for (size_t i = 0; i < value.len; i++)
		if (lower(text[i]) != value.ptr[i]) /* also at the end of text */
			return false;
	return true;
}

static bool contains(struct str value, const char *text)
{
	if (!value.len)
		return true;
	for (; *text; text++)
		if (lower(*text) == value.ptr[0] && begins(value, text))
			return true;
	return false;
}

/* A star takes as little as it can, and more whenever what follows does not fit. */
static bool fits(struct str pattern, struct str text)
{
	size_t p = 0, t = 0, star = SIZE_MAX, taken = 0;
	while (t < text.len) {
		if (p < pattern.len && pattern.ptr[p] == '*') {
			star = p++;
			taken = t;
		} else if (p < pattern.len && pattern.ptr[p] == lower(text.ptr[t])) {
			p++;
			t++;
		} else if (star != SIZE_MAX) {
			p = star + 1;
			t = ++taken;
		} else
			return false;
	}
	while (p < pattern.len && pattern.ptr[p] == '*')
		p++;
	return p == pattern.len;
}

static bool text_matches(uint8_t match, struct str value, const char *text)
{
	switch (match) {
	case SUBSTRING:
		return contains(value, text);
	case PREFIX:
		return begins(value, text);
	case EXACT:
		return str_equal_nocase(value, str_from(text));
	default:
		return fits(value, str_from(text));
	}
}

static bool tags_match(uint8_t match, struct str value, const char *tags)
{
	char tag[FLEET_TAGS_SIZE];
	struct str rest = str_from(tags);
	while (rest.len)
		if (str_copy(str_cut(rest, ' ', &rest), tag, sizeof tag) == 0 && text_matches(match, value, tag))
			return true;
	return false;
}

static bool id_matches(uint8_t match, struct str value, const struct id *id)
{
	char text[ID_TEXT_SIZE];
	id_format(id, text);
	return text_matches(match == SUBSTRING ? PREFIX : match, value, text);
}

static bool name_matches(uint8_t match, struct str value, const struct device *device)
{
	char full_name[FLEET_FULL_NAME];
	if (text_matches(match, value, device->name))
		return true;
	fleet_full_name(device, full_name);
	return text_matches(match, value, full_name);
}

static bool seen_matches(const struct fleet_query_term *term, const struct device *device, bool online, int64_t now)
{
	int64_t ago = online ? 0 : device->last_seen ? now - device->last_seen : INT64_MAX;
	return term->match == LESS ? ago < term->seconds : ago > term->seconds;
}

static bool term_matches(const struct fleet_query_term *term, struct str value, const struct device *device, bool online,
                         int64_t now)
{
	uint8_t match = term->match;
	switch (term->field) {
	case NAME:
		return name_matches(match, value, device);
	case GROUP:
		return text_matches(match, value, device->group);
	case TAG:
		return tags_match(match, value, device->tags);
	case OS:
		return text_matches(match, value, device->os);
	case ARCH:
		return text_matches(match, value, device->arch);
	case VERSION:
		return text_matches(match, value, device->version);
	case ID:
		return id_matches(match, value, &device->id);
	case PARENT:
		return id_is_zero(&device->parent) ? text_matches(match, value, "server")
		                                   : id_matches(match, value, &device->parent);
	case ONLINE:
		return online == str_is(value, "yes");
	case SEEN:
		return seen_matches(term, device, online, now);
	default:
		return name_matches(match, value, device) || text_matches(match, value, device->group) ||
		       text_matches(match, value, device->os) || tags_match(match, value, device->tags) ||
		       id_matches(match, value, &device->id);
	}
}

struct subject {
	const struct fleet_query *query;
	const struct device *device;
	bool online;
	int64_t now;
};

static bool node_matches(const struct subject *subject, uint8_t number)
{
	const struct fleet_query *query = subject->query;
	const struct fleet_query_node *node = &query->nodes[number];
	bool matches;
	if (node->kind == TERM) {
		const struct fleet_query_term *term = &query->terms[node->left];
		struct str value = { query->text + term->start, term->len };
		matches = term_matches(term, value, subject->device, subject->online, subject->now);
	} else if (node->kind == AND)
		matches = node_matches(subject, node->left) && node_matches(subject, node->right);
	else
		matches = node_matches(subject, node->left) || node_matches(subject, node->right);
	return matches != node->negated;
}

bool fleet_query_matches(const struct fleet_query *query, const struct device *device, bool online, int64_t now)
{
	const struct subject subject = { query, device, online, now };
	return !query->n_nodes || node_matches(&subject, (uint8_t)(query->n_nodes - 1));
}
