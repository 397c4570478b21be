/* hopgrad.c - derivatives of higher-order operators. */
#include "grad/hop.h"
