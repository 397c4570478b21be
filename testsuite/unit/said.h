/* said.h - a compilation whose messages are kept: begin(), then end() fills `said`. */
#ifndef SAID_H
#define SAID_H
#include <stdlib.h>
#include "base/base.h"

static char *said;           /* what the last compilation said */
static size_t nsaid;
static FILE *sayer;
static Diag diag;

static Ctx *
begin(void)
{
	free(said);
	said = NULL;
	sayer = open_memstream(&said, &nsaid);
	diag = (Diag){ .out = sayer };
	return ctx_new(&diag);
}

static void
end(Ctx *cx)
{
	ctx_free(cx);
	fclose(sayer);
}
#endif
