/* read.c - which reader: by what the file holds, not by its name.
 */
#include "front/bytes.h"
#include "front/front.h"

enum form { FormPt2, FormNpy, FormSafetensors, FormJson, FormText };

static char
firstchar(const uint8_t *p, size_t n)
{
	size_t i = n >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;

	while (i < n && (p[i] == ' ' || p[i] == '\n' || p[i] == '\r' || p[i] == '\t'))
		i++;
	return i < n ? (char)p[i] : '\0';
}

static enum form
form(const File *f)
{
	if (f->size >= 4 && (memcmp(f->data, "PK\3\4", 4) == 0 || memcmp(f->data, "PK\5\6", 4) == 0))
		return FormPt2;
	if (f->size >= 6 && memcmp(f->data, "\x93NUMPY", 6) == 0)
		return FormNpy;
	if (f->size >= 10 && u64le(f->data) <= 100000000 && firstchar(f->data + 8, f->size - 8) == '{')
		return FormSafetensors;
	return firstchar(f->data, f->size) == '{' ? FormJson : FormText;
}

static bool
istext(Ctx *cx, const File *f)
{
	if (f->size && memchr(f->data, 0, f->size)) {
		error(cx, NOLOC, "%s: not a model: neither a .pt2 archive, nor JSON, nor text", f->name);
		return false;
	}
	if (!utf8_ok((const char *)f->data, f->size)) {
		error(cx, NOLOC, "%s: not a model: the text is not UTF-8", f->name);
		return false;
	}
	return true;
}

Module *
read_model(Ctx *cx, const File *f, const ReadOptions *opt)
{
	static const struct { const char *name; enum form form; } forced[] = {
		{ "fxg", FormText }, { "json", FormJson }, { "pt2", FormPt2 },
	};
	ReadOptions none = {0};
	enum form is = form(f);

	opt = opt ? opt : &none;
	for (int i = 0; opt->form && i < COUNT(forced); i++)
		if (strcmp(opt->form, forced[i].name) == 0)
			is = forced[i].form;
	switch (is) {
	case FormPt2:
		return read_pt2(cx, f, opt);
	case FormJson:
		return read_json(cx, f, (const char *)f->data, f->size, opt);
	case FormText:
		return istext(cx, f) ? read_text(cx, f, opt) : NULL;
	default:
		error(cx, NOLOC, "%s: this is a file of weights; give the model first", f->name);
		return NULL;
	}
}
