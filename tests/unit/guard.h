/* A buffer that ends where the address space does: one byte read or written past it is a fault. */
#ifndef TAPE_TESTS_UNIT_GUARD_H
#define TAPE_TESTS_UNIT_GUARD_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Invariant: [base, base + room) may be used, the page at base + room may not. */
struct guard {
    uint8_t *base;
    size_t room;
};

/* guard_open(bytes): room for at least ${bytes}; aborts when the system has none. */
static inline struct guard guard_open(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct guard guard = {.room = (bytes + page - 1) / page * page};
    guard.base =
        mmap(NULL, guard.room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (guard.base == MAP_FAILED || mprotect(guard.base + guard.room, page, PROT_NONE) != 0)
        abort();
    return guard;
}

/* guard_room(guard, bytes): the last ${bytes} of it. */
static inline uint8_t *guard_room(const struct guard *guard, size_t bytes)
{
    if (bytes > guard->room)
        abort();
    return guard->base + guard->room - bytes;
}

/* guard_put(guard, data, bytes): a copy of data that ends at the forbidden page. */
static inline uint8_t *guard_put(const struct guard *guard, const void *data, size_t bytes)
{
    uint8_t *to = guard_room(guard, bytes);
    if (bytes > 0)
        memmove(to, data, bytes);
    return to;
}

static inline void guard_close(struct guard *guard)
{
    munmap(guard->base, guard->room + (size_t)sysconf(_SC_PAGESIZE));
    guard->base = NULL;
}

#endif
