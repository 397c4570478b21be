/* hop.h - derivatives of higher-order operators (hopgrad.c). */
#ifndef GRAD_HOP_H
#define GRAD_HOP_H
#include "grad/grad.h"
#include "ir/hop.h"
#endif
