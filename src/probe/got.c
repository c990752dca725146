/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots: relocations of a module (JUMP_SLOT of its PLT, GLOB_DAT of what it
 * calls or takes the address of without one) name a symbol and the place where
 * the dynamic linker puts its address. Such a place holds the real function's
 * address, or, before the first call through a lazy PLT, an address inside of
 * the module itself.
 *
 * The list of modules is walked with the dynamic linker's lock held: nothing
 * here may call back into it from there, so symbols are looked up by hand.
 */
#include "probe/got.h"

#include <assert.h>
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__x86_64__) && defined(__LP64__)
#define JUMP_SLOT R_X86_64_JUMP_SLOT
#define GLOB_DAT R_X86_64_GLOB_DAT
#elif defined(__aarch64__) && defined(__LP64__)
#define JUMP_SLOT R_AARCH64_JUMP_SLOT
#define GLOB_DAT R_AARCH64_GLOB_DAT
#else
#define NO_SLOTS 1
#endif

struct module {
	bool program; /* the first one */
	uintptr_t base;
	uintptr_t start, end;	    /* of what is loaded */
	uintptr_t relro, relro_end; /* read-only since it was relocated */
	const ElfW(Sym) * symbols;
	const char *strings;
	const uint32_t *gnu_hash;
	const uint32_t *hash;
	const ElfW(Rela) * tables[2]; /* relocations */
	size_t counts[2];
};

/* ---- Reading a module -------------------------------------------------- */

static void read_segments(const struct dl_phdr_info *info,
			  struct module *module)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	module->start = UINTPTR_MAX;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + segment->p_vaddr;
		uintptr_t end = start + segment->p_memsz;

		if (segment->p_type == PT_LOAD && start < module->start)
			module->start = start;
		if (segment->p_type == PT_LOAD && end > module->end)
			module->end = end;
		if (segment->p_type == PT_GNU_RELRO) {
			module->relro = start & ~(page - 1);
			module->relro_end = end & ~(page - 1);
		}
	}
}

/* The C library writes real addresses over those in the file, others do not. */
static const void *address(const struct module *module, ElfW(Addr) value)
{
	if (value < module->base)
		value += module->base;
	return (const void *)value;
}

static void read_dynamic(struct module *module, const ElfW(Dyn) * entry)
{
	size_t sizes[2] = { 0, 0 };

	for (; entry->d_tag != DT_NULL; entry++) {
		const void *there = address(module, entry->d_un.d_ptr);

		switch (entry->d_tag) {
		case DT_SYMTAB:
			module->symbols = there;
			break;
		case DT_STRTAB:
			module->strings = there;
			break;
		case DT_GNU_HASH:
			module->gnu_hash = there;
			break;
		case DT_HASH:
			module->hash = there;
			break;
		case DT_RELA:
			module->tables[0] = there;
			break;
		case DT_RELASZ:
			sizes[0] = entry->d_un.d_val;
			break;
		case DT_JMPREL:
			module->tables[1] = there;
			break;
		case DT_PLTRELSZ:
			sizes[1] = entry->d_un.d_val;
			break;
		}
	}
	for (int i = 0; i < 2; i++)
		if (module->tables[i])
			module->counts[i] = sizes[i] / sizeof(ElfW(Rela));
}

/* False: it has no symbols. */
static bool read_module(const struct dl_phdr_info *info, bool program,
			struct module *module)
{
	memset(module, 0, sizeof(*module));
	module->program = program;
	module->base = info->dlpi_addr;
	read_segments(info, module);
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];

		if (segment->p_type == PT_DYNAMIC)
			read_dynamic(module, (const void *)(module->base +
							    segment->p_vaddr));
	}
	return module->symbols && module->strings;
}

static bool contains(const struct module *module, uintptr_t at)
{
	return at >= module->start && at < module->end;
}

/* ---- Symbols that a module defines ------------------------------------- */

static bool is_definition(const struct module *module, uint32_t index,
			  const char *name)
{
	const ElfW(Sym) *symbol = &module->symbols[index];

	return symbol->st_shndx != SHN_UNDEF && symbol->st_value != 0 &&
	       strcmp(module->strings + symbol->st_name, name) == 0;
}

static uint32_t find_by_gnu_hash(const struct module *module, const char *name)
{
	const uint32_t *table = module->gnu_hash;
	uint32_t buckets = table[0], first = table[1], blooms = table[2];
	const uint32_t *bucket =
		table + 4 + blooms * (sizeof(ElfW(Addr)) / sizeof(uint32_t));
	const uint32_t *chain = bucket + buckets;
	uint32_t hash = 5381, index;

	for (const char *c = name; *c; c++)
		hash = hash * 33 + (unsigned char)*c;
	index = buckets ? bucket[hash % buckets] : 0;
	if (index < first || index == 0)
		return 0;
	for (;; index++) {
		if ((chain[index - first] | 1) == (hash | 1) &&
		    is_definition(module, index, name))
			return index;
		if (chain[index - first] & 1)
			return 0;
	}
}

static uint32_t find_by_hash(const struct module *module, const char *name)
{
	uint32_t buckets = module->hash[0];
	const uint32_t *bucket = module->hash + 2;
	const uint32_t *chain = bucket + buckets;
	uint32_t hash = 0, index;

	for (const char *c = name; *c; c++) {
		hash = (hash << 4) + (unsigned char)*c;
		hash ^= (hash & 0xf0000000) >> 24;
		hash &= 0x0fffffff;
	}
	index = buckets ? bucket[hash % buckets] : 0;
	while (index && !is_definition(module, index, name))
		index = chain[index];
	return index;
}

/* The address of a function that the module defines for others; or 0. */
static uintptr_t find_definition(const struct module *module, const char *name)
{
	uint32_t index = 0;

	if (module->gnu_hash)
		index = find_by_gnu_hash(module, name);
	else if (module->hash)
		index = find_by_hash(module, name);
	return index ? module->base + module->symbols[index].st_value : 0;
}

/* ---- Walking over the modules ------------------------------------------ */

struct walk {
	uintptr_t inside; /* an address in the library */
	struct slm_got_function *functions;
	size_t count;
	size_t seen;   /* modules so far */
	bool program;  /* the library is the program itself */
	size_t others; /* other modules that define the first function */
	bool global;   /* a search by name finds the library's function */
	size_t changed;
};

static int resolve_in(struct dl_phdr_info *info, size_t size, void *userdata)
{
	struct walk *walk = userdata;
	struct module module;
	bool usable = read_module(info, walk->seen++ == 0, &module);

	(void)size;
	if (!contains(&module, walk->inside))
		return 0;
	for (size_t i = 0; usable && !module.program && i < walk->count; i++)
		walk->functions[i].real =
			find_definition(&module, walk->functions[i].name);
	return 1;
}

bool slm_got_resolve(const void *inside, struct slm_got_function *functions,
		     size_t count)
{
	struct walk walk = { .inside = (uintptr_t)inside,
			     .functions = functions,
			     .count = count };

	assert(count > 0);
	for (size_t i = 0; i < count; i++)
		functions[i].real = 0;
#ifndef NO_SLOTS
	dl_iterate_phdr(resolve_in, &walk);
#endif
	return functions[0].real != 0;
}

static int read_changes(struct dl_phdr_info *info, size_t size, void *userdata)
{
	uint64_t *changes = userdata;

	(void)size;
	*changes = info->dlpi_adds + info->dlpi_subs;
	return 1;
}

uint64_t slm_got_changes(void)
{
	uint64_t changes = 0;

	dl_iterate_phdr(read_changes, &changes);
	return changes;
}

#ifndef NO_SLOTS

static int count_others(struct dl_phdr_info *info, size_t size, void *userdata)
{
	struct walk *walk = userdata;
	struct module module;

	(void)size;
	if (read_module(info, false, &module) &&
	    !contains(&module, walk->inside) &&
	    find_definition(&module, walk->functions[0].name))
		walk->others++;
	return 0;
}

/* ---- Slots ------------------------------------------------------------- */

/* Does the slot lead to the library's function, or will it? */
static bool leads_there(const struct walk *walk, const struct module *module,
			const ElfW(Sym) * symbol, uintptr_t value,
			const struct slm_got_function *function)
{
	if (value == function->real)
		return true;
	if (!contains(module, value))
		return false;
	/* The library's own; not bound yet. */
	if (contains(module, walk->inside))
		return true;
	/* Not bound yet, and it can only be bound to the library. */
	return symbol->st_shndx == SHN_UNDEF &&
	       (walk->others == 0 || walk->global);
}

static bool set_slot(const struct module *module, uintptr_t *slot,
		     uintptr_t value)
{
	uintptr_t page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t page = (uintptr_t)slot & ~(page_size - 1);
	bool locked = page >= module->relro && page < module->relro_end;

	if (locked &&
	    mprotect((void *)page, page_size, PROT_READ | PROT_WRITE) != 0)
		return false;
	__atomic_store_n(slot, value, __ATOMIC_RELEASE);
	if (locked)
		mprotect((void *)page, page_size, PROT_READ);
	return true;
}

static const struct slm_got_function *find_function(const struct walk *walk,
						    const char *name)
{
	for (size_t i = 0; i < walk->count; i++)
		if (walk->functions[i].real &&
		    strcmp(walk->functions[i].name, name) == 0)
			return &walk->functions[i];
	return NULL;
}

static void patch_table(struct walk *walk, const struct module *module,
			const ElfW(Rela) * table, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		unsigned type = (unsigned)ELF64_R_TYPE(table[i].r_info);
		const ElfW(Sym) * symbol;
		const struct slm_got_function *function;
		uintptr_t *slot, value, wrapper;

		if (type != JUMP_SLOT && type != GLOB_DAT)
			continue;
		symbol = &module->symbols[ELF64_R_SYM(table[i].r_info)];
		function =
			find_function(walk, module->strings + symbol->st_name);
		if (!function)
			continue;
		slot = (uintptr_t *)(module->base + table[i].r_offset);
		value = __atomic_load_n(slot, __ATOMIC_RELAXED);
		wrapper = (uintptr_t)function->wrapper;
		if (value != wrapper &&
		    leads_there(walk, module, symbol, value, function) &&
		    set_slot(module, slot, wrapper))
			walk->changed++;
	}
}

static int patch_module(struct dl_phdr_info *info, size_t size, void *userdata)
{
	struct walk *walk = userdata;
	struct module module;

	(void)size;
	if (!read_module(info, false, &module))
		return 0;
	for (int i = 0; i < 2; i++)
		patch_table(walk, &module, module.tables[i], module.counts[i]);
	return 0;
}

#endif

size_t slm_got_patch(const void *inside,
		     const struct slm_got_function *functions, size_t count)
{
	struct walk walk = { .inside = (uintptr_t)inside,
			     .functions = (struct slm_got_function *)functions,
			     .count = count };

	assert(count > 0);
#ifndef NO_SLOTS
	walk.global = (uintptr_t)dlsym(RTLD_DEFAULT, functions[0].name) ==
		      functions[0].real;
	dl_iterate_phdr(count_others, &walk);
	dl_iterate_phdr(patch_module, &walk);
#endif
	return walk.changed;
}
