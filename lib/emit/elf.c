/* elf.c - the constants as a relocatable ELF64 object, written straight from where
 * they lie: weights pass neither through LLVM nor through text.
 *
 *     header | .rodata | .symtab | .strtab | .shstrtab | section headers
 */
#include <elf.h>
#include "emit/entry.h"

enum { SecNull, SecData, SecSym, SecStr, SecNames, SecStack, Nsec };

typedef struct Put { bool (*fn)(void *, const void *, size_t); void *arg; uint64_t at; bool ok; } Put;

static void
put(Put *p, const void *s, size_t n)
{
	p->ok = p->ok && p->fn(p->arg, s, n);
	p->at += n;
}

static void
pad(Put *p, uint64_t to)
{
	static const char zero[4096];

	while (p->at < to)
		put(p, zero, to - p->at < sizeof zero ? to - p->at : sizeof zero);
}

bool
elf_konst(const Artifact *a, bool (*fn)(void *, const void *, size_t), void *arg)
{
	static const char names[] = "\0.rodata.fxcc\0.symtab\0.strtab\0.shstrtab\0.note.GNU-stack";
	Put p = {fn, arg, 0, true};
	uint64_t align = a->nkonst >= 1 << 20 ? 4096 : 64, size = a->nkonst ? a->nkonst : 8;
	const char *symbol = arena_printf(a->a, "%skonst", a->p);
	uint64_t data = align, sym = (data + size + 63) & ~UINT64_C(63), str = sym + 2 * sizeof(Elf64_Sym);
	uint64_t shstr = str + strlen(symbol) + 2, sh = (shstr + sizeof names + 63) & ~UINT64_C(63);
	Elf64_Ehdr h = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_type = ET_REL, .e_machine = EM_X86_64, .e_version = EV_CURRENT, .e_shoff = sh,
		.e_ehsize = sizeof h, .e_shentsize = sizeof(Elf64_Shdr), .e_shnum = Nsec, .e_shstrndx = SecNames,
	};
	Elf64_Sym s[2] = {{0}, {1, ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT), STV_HIDDEN, SecData, 0, size}};
	Elf64_Shdr sec[Nsec] = {
		[SecData]  = {1, SHT_PROGBITS, SHF_ALLOC, 0, data, size, 0, 0, align, 0},
		[SecSym]   = {14, SHT_SYMTAB, 0, 0, sym, sizeof s, SecStr, 1, 8, sizeof(Elf64_Sym)},
		[SecStr]   = {22, SHT_STRTAB, 0, 0, str, strlen(symbol) + 2, 0, 0, 1, 0},
		[SecNames] = {30, SHT_STRTAB, 0, 0, shstr, sizeof names, 0, 0, 1, 0},
		[SecStack] = {40, SHT_PROGBITS, 0, 0, shstr, 0, 0, 0, 1, 0},
	};

	put(&p, &h, sizeof h);
	for (int i = 0; i < a->konst.n; i++) {
		pad(&p, data + a->konst.v[i].offset);
		put(&p, a->konst.v[i].data, a->konst.v[i].bytes);
	}
	pad(&p, sym);
	put(&p, s, sizeof s);
	put(&p, "", 1);
	put(&p, symbol, strlen(symbol) + 1);
	put(&p, names, sizeof names);
	pad(&p, sh);
	put(&p, sec, sizeof sec);
	return p.ok;
}
